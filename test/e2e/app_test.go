//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	sampleImage = "docker.io/postern/sample-app:dev"
	appPort     = 8080
)

// change changes a podSpec for a test.
type change func(*corev1.PodSpec)

// podSpec is the sample app as an app team would deploy it, without any reference to Postern.
func podSpec(changes ...change) corev1.PodSpec {
	spec := corev1.PodSpec{
		TerminationGracePeriodSeconds: ptr.To(int64(20)),
		Containers: []corev1.Container{{
			Name: "app", Image: sampleImage, ImagePullPolicy: corev1.PullNever,
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: appPort}},
			ReadinessProbe: &corev1.Probe{
				ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromString("http")}},
				PeriodSeconds: 1, TimeoutSeconds: 5,
			},
		}},
	}
	for _, c := range changes {
		c(&spec)
	}
	return spec
}

// env sets a variable of the app.
func env(name, value string) change {
	return func(spec *corev1.PodSpec) {
		spec.Containers[0].Env = append(spec.Containers[0].Env, corev1.EnvVar{Name: name, Value: value})
	}
}

// deploy creates a Deployment with the label app=name, and a Service with the same name on port 80.
func (s *space) deploy(name string, replicas int32, changes ...change) {
	s.t.Helper()
	labels := map[string]string{"app": name}
	s.create(&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To(replicas),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{
				MaxUnavailable: ptr.To(intstr.FromInt32(0)), MaxSurge: ptr.To(intstr.FromInt32(1)),
			}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: podSpec(changes...)},
		},
	})
	s.create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: name},
		Spec: corev1.ServiceSpec{
			Selector: labels, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("http")}},
		},
	})
}

// serviceURL returns the URL of the Service, without a path.
func (s *space) serviceURL(name string) string {
	s.t.Helper()
	service := &corev1.Service{}
	if err := s.c.Get(s.t.Context(), s.key(name), service); err != nil {
		s.t.Fatal(err)
	}
	return "http://" + service.Spec.ClusterIP
}

// podURL returns the URL of the pod at a port, without a path.
func podURL(pod *corev1.Pod, port int) string {
	return fmt.Sprintf("http://%s:%d", pod.Status.PodIP, port)
}

// pod returns a pod with the label app=name.
func pod(namespace, name string, changes ...change) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec:       podSpec(changes...),
	}
}

// pods returns the pods with the label app=name that are not being deleted, by name.
func (s *space) pods(name string) []corev1.Pod {
	s.t.Helper()
	list := &corev1.PodList{}
	if err := s.c.List(s.t.Context(), list, client.InNamespace(s.name), client.MatchingLabels{"app": name}); err != nil {
		s.t.Fatal(err)
	}
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods
}

// ready waits until a pod is ready, and returns it.
func (s *space) ready(name string) *corev1.Pod {
	s.t.Helper()
	pod := &corev1.Pod{}
	eventually(s.t, "waiting for pod "+name, func() error {
		if err := s.c.Get(s.t.Context(), s.key(name), pod); err != nil {
			return err
		}
		if !ready(pod) {
			return fmt.Errorf("it is not ready: %s", describe(pod))
		}
		return nil
	})
	return pod
}

// ready reports whether the kubelet says that the pod is ready.
func ready(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// describe describes the state of a pod's containers.
func describe(pod *corev1.Pod) string {
	words := []string{string(pod.Status.Phase)}
	for _, c := range append(slices.Clone(pod.Status.InitContainerStatuses), pod.Status.ContainerStatuses...) {
		state := "running"
		switch {
		case c.State.Waiting != nil:
			state = c.State.Waiting.Reason
		case c.State.Terminated != nil:
			state = fmt.Sprintf("terminated with %d", c.State.Terminated.ExitCode)
		}
		words = append(words, fmt.Sprintf("%s: %s, ready=%t, %d restarts", c.Name, state, c.Ready, c.RestartCount))
	}
	return strings.Join(words, "; ")
}

// client starts a pod that no policy selects, and waits until it is ready. Tests send requests from it.
func (s *space) client() *corev1.Pod {
	s.t.Helper()
	s.create(pod(s.name, "client"))
	return s.ready("client")
}

// ask runs the sample app's HTTP client in the pod. It prints the response in the format of curl -i.
func (s *space) ask(pod *corev1.Pod, args ...string) (string, error) {
	for _, arg := range args {
		if name, value, ok := strings.Cut(arg, ": "); ok {
			secrets.addHeader(http.Header{http.CanonicalHeaderKey(name): {value}})
		}
		secrets.addBody(arg)
	}
	return kubectl(append([]string{"exec", "-n", s.name, pod.Name, "-c", "app", "--", "/sample-app", "get"}, args...)...)
}
