package inject

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

// webhookConfiguration returns the chart's configuration, except for the address, which envtest sets.
func webhookConfiguration() *admissionregistrationv1.MutatingWebhookConfiguration {
	return &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "postern"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "pods.postern.dev",
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				Service: &admissionregistrationv1.ServiceReference{Namespace: "postern-system", Name: "postern", Path: ptr.To(Path)}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.InjectionLabel: v1alpha1.InjectionLabelEnabled}},
			FailurePolicy:           ptr.To(admissionregistrationv1.Fail),
			ReinvocationPolicy:      ptr.To(admissionregistrationv1.IfNeededReinvocationPolicy),
			SideEffects:             ptr.To(admissionregistrationv1.SideEffectClassNone),
			TimeoutSeconds:          ptr.To[int32](10),
			AdmissionReviewVersions: []string{"v1"},
		}},
	}
}

// startCluster starts a real API server that calls a real webhook, and returns a client of the API server.
func startCluster(t *testing.T) client.Client {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Fatal(`KUBEBUILDER_ASSETS is not set: run "make test", or eval "$(hack/cluster/env.sh)"`)
	}
	log.SetLogger(logr.Discard())
	env := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
		WebhookInstallOptions: envtest.WebhookInstallOptions{
			MutatingWebhooks: append(meshConfigurations(), webhookConfiguration())},
	}
	// envtest disables the ServiceAccount plugin, which adds a mount to pods. Enable it, as in a real cluster.
	env.ControlPlane.GetAPIServer().Configure().Disable("disable-admission-plugins")
	config, err := env.Start()
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stopping API server: %v", err)
		}
	})
	if err != nil {
		t.Fatalf("starting API server: %v", err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	serveWebhook(t, c, &env.WebhookInstallOptions)
	return c
}

func serveWebhook(t *testing.T, reader client.Reader, options *envtest.WebhookInstallOptions) {
	t.Helper()
	h, err := NewHandler(Config{
		Policies: livePolicies{reader}, Reader: reader, Live: reader, Scheme: scheme(t), Settings: settings, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	server := webhook.NewServer(webhook.Options{
		Host: options.LocalServingHost, Port: options.LocalServingPort, CertDir: options.LocalServingCertDir})
	server.Register(Path, &admission.Webhook{Handler: h})
	server.Register(meshPath, &admission.Webhook{Handler: meshWebhook(admission.NewDecoder(scheme(t)))})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serving webhook: %v", err)
		}
	})
	started := server.StartedChecker()
	for deadline := time.Now().Add(30 * time.Second); started(nil) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the webhook does not listen: %v", started(nil))
		}
	}
}

func create(t *testing.T, c client.Client, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatalf("creating %T %s: %v", o, o.GetName(), err)
		}
	}
}

// workspace creates a namespace with injection enabled, and a policy that selects app=orders.
func workspace(t *testing.T, c client.Client, name string, interception v1alpha1.Interception, labels map[string]string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.InjectionLabel: v1alpha1.InjectionLabelEnabled}}}
	for k, v := range labels {
		ns.Labels[k] = v
	}
	policy := securityPolicy("orders", 0)
	policy.Namespace, policy.Spec.Interception = name, interception
	create(t, c, ns, serviceAccount(name), policy)
}

// serviceAccount returns the default account, which the controller manager creates in a real cluster.
func serviceAccount(namespace string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "default"}}
}

// created creates the pod in the namespace and returns it as the API server stored it.
func created(t *testing.T, c client.Client, namespace string, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	pod = pod.DeepCopy()
	pod.Namespace = namespace
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			list[i].Image = "registry.example/app:1"
		}
	}
	create(t, c, pod)
	return pod
}

func TestAPIServer(t *testing.T) {
	c := startCluster(t)
	create(t, c, class(), serviceAccount("default"))
	for name, test := range map[string]func(*testing.T, client.Client){
		"a pod created right after the policy is injected": testRightAfterPolicy,
		"probes and hooks of all kinds are valid":          testValid,
		"restricted namespaces admit Takeover":             testRestricted,
		"restricted namespaces refuse Redirect":            testRestrictedRedirect,
		"a limit range's defaults are kept":                testLimitRange,
		"quotas and limit ranges that refuse the sidecar":  testBoundedNamespaces,
		"a key set that asks for the pod's token":          testKeysToken,
		"an injected pod can be copied":                    testCopy,
		"other pods and namespaces are not changed":        testNotChanged,
		"refusals reach the client":                        testRefused,
		"Takeover in a mesh, in both orders of webhooks":   testMeshTakeover,
		"Redirect in a mesh is refused in both orders":     testMeshRedirect,
	} {
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
}

func testRightAfterPolicy(t *testing.T, c client.Client) {
	workspace(t, c, "wake", v1alpha1.InterceptRedirect, nil)
	pod := created(t, c, "wake", appPod())
	if s := sidecarOf(t, pod); s.RestartPolicy == nil || *s.RestartPolicy != corev1.ContainerRestartPolicyAlways {
		t.Errorf("the sidecar is not native: %+v", s)
	}
	if mounts := sidecarOf(t, pod).VolumeMounts; len(mounts) != 2 {
		t.Errorf("the sidecar has more than its document and token: %+v", mounts)
	}
	if pod.Annotations[render.PolicyAnnotation] != "orders" {
		t.Errorf("annotations are %v", pod.Annotations)
	}
}

func testValid(t *testing.T, c client.Client) {
	workspace(t, c, "valid", v1alpha1.InterceptRedirect, nil)
	probes := readPod(t, "testdata/probes.in.yaml")
	probes.Labels = map[string]string{"app": "orders"}
	for _, pod := range []*corev1.Pod{fullPod(), probes} {
		want := len(forwardedBy(t, mustInject(t, input(pod, v1alpha1.InterceptRedirect))))
		if got := len(forwardedBy(t, created(t, c, "valid", pod))); got != want {
			t.Errorf("the sidecar forwards %d probes, want %d", got, want)
		}
	}
}

func testRestricted(t *testing.T, c client.Client) {
	workspace(t, c, "restricted", v1alpha1.InterceptTakeover, map[string]string{enforceLabel: "restricted"})
	pod := created(t, c, "restricted", restrictedPod())
	if portStart(pod) != "80" {
		t.Errorf("the pod's security context is %+v", pod.Spec.SecurityContext)
	}
	sidecarOf(t, pod)
}

func testRestrictedRedirect(t *testing.T, c client.Client) {
	workspace(t, c, "restricted-redirect", v1alpha1.InterceptRedirect, map[string]string{enforceLabel: "restricted"})
	wantForbidden(t, c, "restricted-redirect", restrictedPod(), "spec.interception: Takeover")
}

// testLimitRange makes the API server call the webhook again, after it has set defaults on the new container.
func testLimitRange(t *testing.T, c client.Client) {
	workspace(t, c, "limits", v1alpha1.InterceptRedirect, nil)
	create(t, c, &corev1.LimitRange{
		ObjectMeta: metav1.ObjectMeta{Namespace: "limits", Name: "cpu"},
		Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
			Type:    corev1.LimitTypeContainer,
			Max:     corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")},
			Default: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m")},
		}}},
	})
	pod := created(t, c, "limits", fullPod())
	if cpu := sidecarOf(t, pod).Resources.Limits.Cpu().String(); cpu != "500m" {
		t.Errorf("the sidecar's CPU limit is %s", cpu)
	}
	if len(pod.Spec.InitContainers) != 4 || pod.Spec.Containers[0].Lifecycle.PreStop.HTTPGet.Path != "/probe/app/preStop" {
		t.Errorf("the pod is %+v", pod.Spec)
	}
	if got := len(forwardedBy(t, pod)); got != 5 {
		t.Errorf("the sidecar forwards %d probes, want 5", got)
	}
}

func testCopy(t *testing.T, c client.Client) {
	workspace(t, c, "copy", v1alpha1.InterceptRedirect, nil)
	first := created(t, c, "copy", fullPod())
	second := first.DeepCopy()
	second.ObjectMeta = metav1.ObjectMeta{Name: "copied", Labels: first.Labels}
	second.Status = corev1.PodStatus{}
	second = created(t, c, "copy", second)
	if got, want := string(encode(t, forwardedBy(t, second))), string(encode(t, forwardedBy(t, first))); got != want {
		t.Errorf("the copy's probes are %s, want %s", got, want)
	}
}

func testNotChanged(t *testing.T, c client.Client) {
	workspace(t, c, "alone", v1alpha1.InterceptRedirect, nil)
	other := appPod()
	other.Labels = map[string]string{"app": "other"}
	for namespace, pod := range map[string]*corev1.Pod{"alone": other, "default": appPod()} {
		if got := created(t, c, namespace, pod); len(got.Spec.InitContainers) > 0 {
			t.Errorf("the pod in %s has %+v", namespace, got.Spec.InitContainers)
		}
	}
}

func testRefused(t *testing.T, c client.Client) {
	workspace(t, c, "refused", v1alpha1.InterceptRedirect, nil)
	pod := appPod()
	pod.Spec.HostNetwork = true
	wantForbidden(t, c, "refused", pod, "remove hostNetwork")
}

func wantForbidden(t *testing.T, c client.Client, namespace string, pod *corev1.Pod, text string) {
	t.Helper()
	pod = pod.DeepCopy()
	pod.Namespace = namespace
	if err := c.Create(t.Context(), pod); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want a refusal that says %q", err, text)
	}
}
