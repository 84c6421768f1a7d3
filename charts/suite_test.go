// Package charts contains the Helm chart and its tests, which run helm against a real API server.
package charts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const (
	chart     = "postern"
	release   = "postern"
	namespace = "postern-system"
)

// server is a real API server without controllers: no pods start, and no namespaces are deleted.
type server struct {
	client.Client
	kubeconfig string
}

// shared is started once for all tests, because starting an API server takes seconds.
var shared server

func TestMain(m *testing.M) {
	code, err := runSuite(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runSuite(m *testing.M) (code int, err error) {
	if _, lookErr := exec.LookPath("helm"); lookErr != nil || os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return 1, errors.New(`helm or KUBEBUILDER_ASSETS is missing: run "make test", or eval "$(hack/cluster/env.sh)"`)
	}
	ctrl.SetLogger(ctrl.Log.WithSink(nil))
	env := &envtest.Environment{}
	env.ControlPlane.GetAPIServer().Configure().Set("service-cluster-ip-range", "10.0.0.0/24,fd00:10::/112") // for both IP families
	config, err := env.Start()
	if err != nil {
		return 1, fmt.Errorf("starting API server: %w", err)
	}
	defer func() { err = errors.Join(err, env.Stop()) }()
	config.QPS = -1
	if shared.Client, err = client.New(config, client.Options{}); err != nil {
		return 1, fmt.Errorf("connecting to API server: %w", err)
	}
	dir, err := os.MkdirTemp("", "charts")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	shared.kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(shared.kubeconfig, env.KubeConfig, 0o600); err != nil {
		return 1, err
	}
	of := map[string]string{"app.kubernetes.io/name": "postern", "app.kubernetes.io/component": "test"}
	for name, labels := range map[string]map[string]string{namespace: nil, "shop": nil, "postern-test": of} {
		if err := shared.Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}); err != nil {
			return 1, err
		}
	}
	return m.Run(), nil
}

// run runs a command against the API server and returns what it printed.
func run(t *testing.T, command string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+shared.kubeconfig, "HELM_NAMESPACE="+namespace)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", command, args, err, errs.String())
	}
	return string(out)
}

// decode reads a stream of YAML documents.
func decode(t *testing.T, stream string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for d := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(stream)), 4096); ; {
		o := &unstructured.Unstructured{}
		err := d.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("decoding rendered objects: %v", err)
		}
		if len(o.Object) > 0 {
			out = append(out, o)
		}
	}
}

// find returns the object of this kind and name.
func find(t *testing.T, objects []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, o := range objects {
		if o.GetKind() == kind && o.GetName() == name {
			return o
		}
	}
	t.Fatalf("there is no %s %q", kind, name)
	return nil
}
