// Package apiserver runs a real API server that has what the chart installs for the operator: CRDs, roles, Secrets, the default class,
// the webhook configurations and the FlowSchemas. The operator itself is started by the tests and the bench.
package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/test/freeport"
)

// Namespace is the operator's.
const Namespace = "postern-system"

// Assets is the environment variable with the folder of the binaries of the API server and etcd.
const Assets = "KUBEBUILDER_ASSETS"

// ErrAssets says how to get the binaries.
var ErrAssets = errors.New(Assets + ` is not set: run "hack/cluster/build.sh envtest", and then eval "$(hack/cluster/env.sh)"`)

// Server is a running API server, and the clients of an administrator without a limit of their own.
type Server struct {
	client.Client
	HTTP   *kubernetes.Clientset
	Config *rest.Config
	// Kubeconfig is the file of a user who has only the permissions of config/rbac, for the operator.
	Kubeconfig string
	// Dir is the folder of the server's certificates and keys.
	Dir string
	// Ports are those of the operator.
	Ports Ports

	env     *envtest.Environment
	webhook *admissionv1.MutatingWebhookConfiguration
}

// Ports are the operator's ports on 127.0.0.1.
type Ports struct{ Webhook, Deliver, Health int }

// Start starts the server. root is the folder of this module. The caller must call Stop.
func Start(ctx context.Context, root string) (*Server, error) {
	if os.Getenv(Assets) == "" {
		return nil, ErrAssets
	}
	s := &Server{env: &envtest.Environment{
		CRDDirectoryPaths: []string{filepath.Join(root, "config", "crd", "bases")}, ErrorIfCRDPathMissing: true,
	}}
	var err error
	if s.Config, err = s.env.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting API server: %w", err), s.env.Stop()) // a failed start can also leave processes
	}
	if err := s.install(ctx, root); err != nil {
		return nil, errors.Join(fmt.Errorf("installing: %w", err), s.env.Stop())
	}
	return s, nil
}

// Stop stops the server and deletes its data.
func (s *Server) Stop() error {
	if err := s.env.Stop(); err != nil {
		return fmt.Errorf("stopping API server: %w", err)
	}
	return nil
}

// Flags returns the operator's flags.
func (s *Server) Flags() []string {
	return []string{
		"--operator-namespace=" + Namespace, "--sidecar-image=example.com/sidecar:1",
		fmt.Sprintf("--webhook-port=%d", s.Ports.Webhook), fmt.Sprintf("--deliver-port=%d", s.Ports.Deliver),
		fmt.Sprintf("--operator-url=https://localhost:%d", s.Ports.Deliver), "--operator-service=postern-operator",
		"--validating-webhook-configuration=postern",
		fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", s.Ports.Health),
		"--leader-elect",
	}
}

// install creates the objects that the chart creates.
func (s *Server) install(ctx context.Context, root string) error {
	s.Config.QPS = -1
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	var err error
	if s.Client, err = client.New(s.Config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	if s.HTTP, err = kubernetes.NewForConfig(s.Config); err != nil {
		return err
	}
	s.Dir = s.env.ControlPlane.APIServer.CertDir
	if err := s.addOperator(); err != nil {
		return err
	}
	if err := s.pickPorts(); err != nil {
		return err
	}
	objects, err := s.objects(root)
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := s.Create(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// NewClient returns a client with a connection of its own. The API server serves at most 100 requests of a connection at once.
func (s *Server) NewClient() (client.Client, error) {
	config := rest.CopyConfig(s.Config)
	config.Dial = (&net.Dialer{}).DialContext // a transport of its own
	return client.New(config, client.Options{Scheme: s.Scheme()})
}

// addOperator adds the operator's user.
func (s *Server) addOperator() error {
	user, err := s.env.AddUser(envtest.User{Name: operatorUser}, nil)
	if err != nil {
		return err
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return err
	}
	s.Kubeconfig = filepath.Join(s.Dir, "operator.kubeconfig")
	return os.WriteFile(s.Kubeconfig, kubeconfig, 0o600)
}

func (s *Server) pickPorts() error {
	ports := []*int{&s.Ports.Webhook, &s.Ports.Deliver, &s.Ports.Health}
	addresses, err := freeport.Addresses(len(ports))
	if err != nil {
		return err
	}
	for i, address := range addresses {
		*ports[i] = int(netip.MustParseAddrPort(address).Port())
	}
	return nil
}
