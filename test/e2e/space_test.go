//go:build e2e

package e2e

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
)

// systemNamespace is where run.sh installs the chart.
const systemNamespace = "postern-system"

// clusterName is the name of the node in hack/cluster.
func clusterName() string { return cmp.Or(os.Getenv("E2E_CLUSTER"), "e2e") }

// connect returns a client for the cluster that KUBECONFIG names.
func connect(t *testing.T) client.WithWatch {
	t.Helper()
	config, err := ctrl.GetConfig()
	if err != nil {
		t.Fatalf("reading kubeconfig: %v (test/e2e/run.sh sets KUBECONFIG)", err)
	}
	config.QPS = -1
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// space is the namespace of one test.
type space struct {
	t    *testing.T
	c    client.WithWatch
	name string
}

// newSpace creates a namespace with injection and with the password of Redis. labels are added as "name=value". The namespace is
// deleted at the end of the test, unless the test failed and KEEP=1 keeps the cluster.
func newSpace(t *testing.T, labels ...string) *space {
	t.Helper()
	s := newBareSpace(t, append(labels, v1alpha1.InjectionLabel+"="+v1alpha1.InjectionLabelEnabled)...)
	s.copyRedisPassword()
	return s
}

// newBareSpace creates a namespace with only these labels.
func newBareSpace(t *testing.T, labels ...string) *space {
	t.Helper()
	s := &space{t: t, c: connect(t), name: "e2e-" + strings.ToLower(rand.Text()[:8])}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name, Labels: map[string]string{}}}
	for _, label := range labels {
		key, value, _ := strings.Cut(label, "=")
		namespace.Labels[key] = value
	}
	s.create(namespace)
	t.Logf("namespace %s", s.name)
	t.Cleanup(func() {
		if t.Failed() {
			s.tellState()
			if os.Getenv("KEEP") == "1" {
				return
			}
		}
		_, _ = kubectl("delete", "namespace", s.name, "--wait=false")
	})
	eventually(t, "waiting for the service account", func() error {
		return s.c.Get(t.Context(), s.key("default"), &corev1.ServiceAccount{})
	})
	return s
}

// in returns the same namespace for a subtest.
func (s *space) in(t *testing.T) *space { return &space{t: t, c: s.c, name: s.name} }

// tellState logs the state of the namespace after a failure.
func (s *space) tellState() {
	out, _ := kubectl("get", "pods,securitypolicies", "-n", s.name, "-o", "wide")
	s.t.Log(out)
	out, _ = kubectl("get", "securitypolicies", "-n", s.name, "-o",
		`jsonpath={range .items[*]}{.metadata.name}{"\n"}{range .status.conditions[*]}  {.type}={.status} {.reason}: {.message}{"\n"}{end}{end}`)
	s.t.Log(out)
}

func (s *space) copyRedisPassword() {
	s.t.Helper()
	original := &corev1.Secret{}
	if err := s.c.Get(s.t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: "postern-redis"}, original); err != nil {
		s.t.Fatalf("reading the password of Redis: %v", err)
	}
	s.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: original.Name}, Data: original.Data})
}

func (s *space) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.name, Name: name}
}

func (s *space) create(object client.Object) {
	s.t.Helper()
	if err := s.c.Create(s.t.Context(), object); err != nil {
		s.t.Fatalf("creating %T %s: %v", object, object.GetName(), err)
	}
}

// apply is kubectl apply --server-side. fill are pairs of a placeholder in the manifest and its value.
func (s *space) apply(manifest string, fill ...string) {
	s.t.Helper()
	if err := s.tryApply(manifest, fill...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *space) tryApply(manifest string, fill ...string) error {
	for text := range strings.SplitSeq(strings.NewReplacer(fill...).Replace(manifest), "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), object); err != nil {
			return fmt.Errorf("reading manifest: %w\n%s", err, text)
		}
		object.SetNamespace(s.name)
		applied := client.ApplyConfigurationFromUnstructured(object)
		if err := s.c.Apply(s.t.Context(), applied, client.FieldOwner("e2e"), client.ForceOwnership); err != nil {
			return fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

// delete deletes an object, which may not exist.
func (s *space) delete(object client.Object) {
	s.t.Helper()
	if err := s.c.Delete(s.t.Context(), object); client.IgnoreNotFound(err) != nil {
		s.t.Fatalf("deleting %T %s: %v", object, object.GetName(), err)
	}
}

// kubectl returns the output of the command, stdout and stderr.
func kubectl(args ...string) (string, error) {
	out, err := exec.Command("kubectl", args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// rolledOut waits until every replica of the Deployment has its current template and is ready.
func (s *space) rolledOut(name string) {
	s.t.Helper()
	eventually(s.t, "waiting for deployment "+name, func() error {
		d := &appsv1.Deployment{}
		if err := s.c.Get(s.t.Context(), s.key(name), d); err != nil {
			return err
		}
		want := *d.Spec.Replicas
		st := d.Status
		if st.ObservedGeneration < d.Generation || st.UpdatedReplicas != want || st.Replicas != want || st.ReadyReplicas != want {
			return fmt.Errorf("want %d replicas; there are %d, %d updated, %d ready", want, st.Replicas, st.UpdatedReplicas, st.ReadyReplicas)
		}
		return nil
	})
}
