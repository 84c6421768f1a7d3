package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/inject"
	"github.com/posterndev/postern/test/freeport"
)

const (
	operatorNamespace = "postern-system"
	waitLimit         = 3 * time.Minute
)

// cluster is a real API server with the operator's CRDs, roles and Secrets, as the chart installs them.
type cluster struct {
	env  *envtest.Environment
	http *kubernetes.Clientset
	client.Client
	// kubeconfig is the operator's, which has only the permissions of config/rbac.
	kubeconfig string
	ports      [3]int
}

// shared is started once for all tests, because starting an API server takes seconds.
var shared *cluster

// asOperator is the environment variable that makes this test binary the operator.
const asOperator = "POSTERN_TEST_OPERATOR"

func TestMain(m *testing.M) {
	if os.Getenv(asOperator) != "" {
		main()
		return
	}
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		fmt.Fprintln(os.Stderr, `KUBEBUILDER_ASSETS is not set: run "make test", or eval "$(hack/cluster/env.sh)"`)
		os.Exit(1)
	}
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	ctrl.SetLogger(logr.Discard())
	c := &cluster{env: &envtest.Environment{
		CRDDirectoryPaths: []string{filepath.Join("..", "..", "config", "crd", "bases")}, ErrorIfCRDPathMissing: true,
	}}
	config, err := c.env.Start()
	defer func() { // a failed start can also leave processes
		if stopErr := c.env.Stop(); stopErr != nil && err == nil {
			err = fmt.Errorf("stopping API server: %w", stopErr)
		}
	}()
	if err != nil {
		return 1, fmt.Errorf("starting API server: %w", err)
	}
	if err := c.install(context.Background(), config); err != nil {
		return 1, fmt.Errorf("installing: %w", err)
	}
	shared = c
	return m.Run(), nil
}

// install creates the objects that the chart creates.
func (c *cluster) install(ctx context.Context, config *rest.Config) error {
	config.QPS = -1
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	if c.Client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	if c.http, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	user, err := c.env.AddUser(envtest.User{Name: "operator"}, nil)
	if err != nil {
		return err
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return err
	}
	c.kubeconfig = filepath.Join(c.env.ControlPlane.APIServer.CertDir, "operator.kubeconfig")
	if err := os.WriteFile(c.kubeconfig, kubeconfig, 0o600); err != nil {
		return err
	}
	if err := c.pickPorts(); err != nil {
		return err
	}
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: operatorNamespace}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "postern-certs"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "postern-signing-key"}},
		&v1alpha1.SidecarClass{ObjectMeta: metav1.ObjectMeta{
			Name: "default", Annotations: map[string]string{v1alpha1.DefaultClassAnnotation: "true"},
		}},
		c.webhookConfiguration(),
	}
	validating, err := c.validatingConfiguration()
	if err != nil {
		return err
	}
	objects = append(objects, validating)
	roles, err := readRoles(filepath.Join("..", "..", "config", "rbac"))
	if err != nil {
		return err
	}
	for _, o := range append(objects, roles...) {
		if err := c.Create(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) webhookConfiguration() *admissionv1.MutatingWebhookConfiguration {
	url, fail, none := fmt.Sprintf("https://localhost:%d%s", c.ports[0], inject.Path), admissionv1.Fail, admissionv1.SideEffectClassNone
	return &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "postern"},
		Webhooks: []admissionv1.MutatingWebhook{{
			Name: "pods.postern.dev", AdmissionReviewVersions: []string{"v1"}, SideEffects: &none, FailurePolicy: &fail,
			ClientConfig:      admissionv1.WebhookClientConfig{URL: &url},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.InjectionLabel: v1alpha1.InjectionLabelEnabled}},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}
}

// validatingConfiguration returns the configuration of config/webhook, with another address.
func (c *cluster) validatingConfiguration() (client.Object, error) {
	b, err := os.ReadFile(filepath.Join("..", "..", "config", "webhook", "manifests.yaml"))
	if err != nil {
		return nil, err
	}
	_, document, _ := strings.Cut(string(b), "\n---\n")
	config := &admissionv1.ValidatingWebhookConfiguration{}
	if err := yaml.UnmarshalStrict([]byte(document), config); err != nil {
		return nil, err
	}
	for i := range config.Webhooks {
		client := &config.Webhooks[i].ClientConfig
		url := fmt.Sprintf("https://localhost:%d%s", c.ports[0], *client.Service.Path)
		client.Service, client.URL = nil, &url
	}
	return config, nil
}

// readRoles returns the generated roles, and their bindings to the operator.
func readRoles(dir string) ([]client.Object, error) {
	b, err := os.ReadFile(filepath.Join(dir, "role.yaml"))
	if err != nil {
		return nil, err
	}
	subjects := []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "operator"}}
	var out []client.Object
	for _, document := range strings.Split(string(b), "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			return nil, err
		}
		var role, binding client.Object
		ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind.Kind, Name: "postern-operator"}
		if kind.Kind == "ClusterRole" {
			role = &rbacv1.ClusterRole{}
			binding = &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: ref.Name}, RoleRef: ref, Subjects: subjects}
		} else {
			role = &rbacv1.Role{}
			binding = &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: ref.Name}, RoleRef: ref, Subjects: subjects}
		}
		if err := yaml.UnmarshalStrict([]byte(strings.TrimPrefix(document, "---\n")), role); err != nil {
			return nil, err
		}
		out = append(out, role, binding)
	}
	return out, nil
}

func (c *cluster) pickPorts() error {
	addresses, err := freeport.Addresses(len(c.ports))
	if err != nil {
		return err
	}
	for i, address := range addresses {
		c.ports[i] = int(netip.MustParseAddrPort(address).Port())
	}
	return nil
}

// startOperator runs the operator as a process, with the permissions of config/rbac, until stop is called or the test ends. stop
// sends SIGTERM, and the process must exit with 0.
func startOperator(t *testing.T) (stop func()) {
	t.Helper()
	return runOperator(t, t.Output(), "--log-format=text")
}

// runOperator is startOperator with a log and additional flags.
func runOperator(t *testing.T, log io.Writer, flags ...string) (stop func()) {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable,
		"--operator-namespace="+operatorNamespace, "--sidecar-image=example.com/sidecar:1",
		fmt.Sprintf("--webhook-port=%d", shared.ports[0]), fmt.Sprintf("--deliver-port=%d", shared.ports[1]),
		fmt.Sprintf("--operator-url=https://localhost:%d", shared.ports[1]), "--operator-service=postern-operator",
		"--validating-webhook-configuration=postern",
		"--metrics-bind-address=0", fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", shared.ports[2]),
		"--leader-elect")
	cmd.Args = append(cmd.Args, flags...)
	cmd.Env = append(os.Environ(), asOperator+"=1", "KUBECONFIG="+shared.kubeconfig)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("the operator exited with %v", err)
			}
		case <-time.After(waitLimit):
			_ = cmd.Process.Kill()
			t.Errorf("the operator did not exit within %s", waitLimit)
		}
	})
	t.Cleanup(stop)
	eventually(t, "the operator is ready", func() error { return ready(shared.ports[2]) })
	return stop
}
