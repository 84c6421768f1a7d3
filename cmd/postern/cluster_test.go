//go:build !nocluster

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/posterndev/postern/api/v1alpha1"
)

// testCluster is a real API server with the CRDs. No operator and no kubelet run: tests write what these would write.
type testCluster struct {
	client.Client
	env     *envtest.Environment
	clients *kubernetes.Clientset
	// admin is the path of the administrator's kubeconfig.
	admin string
}

// startCluster starts the API server once for all tests, because that takes seconds.
var startCluster = sync.OnceValues(func() (*testCluster, error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return nil, fmt.Errorf(`KUBEBUILDER_ASSETS is not set: run "make test", or eval "$(hack/cluster/env.sh)"`)
	}
	ctrl.SetLogger(logr.Discard())
	c := &testCluster{env: &envtest.Environment{
		CRDDirectoryPaths: []string{filepath.Join("..", "..", "config", "crd", "bases")}, ErrorIfCRDPathMissing: true,
	}}
	stopCluster = func() { _ = c.env.Stop() }
	config, err := c.env.Start()
	if err != nil {
		return nil, fmt.Errorf("starting API server: %w", err)
	}
	config.QPS = -1
	if err := v1alpha1.AddToScheme(scheme.Scheme); err != nil {
		return nil, err
	}
	if c.Client, err = client.New(config, client.Options{Scheme: scheme.Scheme}); err != nil {
		return nil, err
	}
	if c.clients, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	c.admin, err = c.user(context.Background(), "admin", []string{"system:masters"}, nil)
	return c, err
})

func cluster(t *testing.T) *testCluster {
	t.Helper()
	c, err := startCluster()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// user returns the path of the kubeconfig of a user with the rules in the namespaces.
func (c *testCluster) user(ctx context.Context, name string, groups []string, rules []rbacv1.PolicyRule, namespaces ...string) (string, error) {
	for _, namespace := range namespaces {
		meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
		role := &rbacv1.Role{ObjectMeta: meta, Rules: rules}
		binding := &rbacv1.RoleBinding{
			ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
		}
		if err := c.Create(ctx, role); err != nil {
			return "", err
		}
		if err := c.Create(ctx, binding); err != nil {
			return "", err
		}
	}
	user, err := c.env.AddUser(envtest.User{Name: name, Groups: groups}, nil)
	if err != nil {
		return "", err
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return "", err
	}
	path := filepath.Join(c.env.ControlPlane.APIServer.CertDir, name+".kubeconfig")
	return path, os.WriteFile(path, kubeconfig, 0o600)
}

// namespace creates a namespace with these labels for the test.
func (c *testCluster) namespace(t *testing.T, labels map[string]string) string {
	t.Helper()
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-", Labels: labels}}
	if err := c.Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return n.Name
}

// create creates objects, and then writes their statuses, which the API server does not take from a creation.
func (c *testCluster) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		withStatus := o.DeepCopyObject().(client.Object)
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatalf("creating %T %s: %v", o, o.GetName(), err)
		}
		withStatus.SetResourceVersion(o.GetResourceVersion())
		withStatus.SetUID(o.GetUID())
		switch s := withStatus.(type) {
		case *v1alpha1.SecurityPolicy:
			if s.Status.ObservedGeneration > 0 {
				s.Status.ObservedGeneration = o.GetGeneration()
			}
		case *corev1.Pod:
		default:
			continue
		}
		if err := c.Status().Update(t.Context(), withStatus); err != nil {
			t.Fatalf("writing status of %T %s: %v", o, o.GetName(), err)
		}
	}
}

// delete deletes an object that is not in the test's namespace, when the test ends.
func (c *testCluster) deleteAfter(t *testing.T, o client.Object) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Delete(context.WithoutCancel(t.Context()), o); err != nil {
			t.Errorf("deleting %s: %v", o.GetName(), err)
		}
	})
}
