package vault

import (
	"errors"
	"os"
	"testing"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// apiServer is a real API server with service accounts.
type apiServer struct {
	*kubernetes.Clientset
	config *rest.Config
}

func startAPIServer(t *testing.T) *apiServer {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Fatal(`KUBEBUILDER_ASSETS is not set: run "make test", or eval "$(hack/cluster/env.sh)"`)
	}
	ctrl.SetLogger(logr.Discard())
	env := &envtest.Environment{}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stopping API server: %v", err)
		}
	})
	config, err := env.Start()
	if err != nil {
		t.Fatalf("starting API server: %v", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &apiServer{Clientset: client, config: config}
}

func (s *apiServer) account(t *testing.T, name string) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := s.CoreV1().ServiceAccounts("default").Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// token returns a token as the kubelet would project it.
func (s *apiServer) token(t *testing.T, account string, audiences ...string) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	response, err := s.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), account, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return response.Status.Token
}

// mount configures Vault to trust the API server, as Vault's documentation says, and returns the path of the mount.
func (s *apiServer) mount(t *testing.T) string {
	t.Helper()
	path := unique("team") + "/kubernetes"
	s.account(t, "vault")
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "vault"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:auth-delegator"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: "vault"}},
	}
	if _, err := s.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	server.Write(t, "sys/auth/"+path, map[string]any{"type": "kubernetes"})
	server.Write(t, "auth/"+path+"/config", map[string]any{
		"kubernetes_host": s.config.Host, "kubernetes_ca_cert": string(s.config.CAData), "token_reviewer_jwt": s.token(t, "vault"),
	})
	server.Write(t, "auth/"+path+"/role/shop", map[string]any{
		"bound_service_account_names": "shop", "bound_service_account_namespaces": "default", "audience": "vault", "token_policies": "reader",
	})
	return path
}

func TestKubernetesLogin(t *testing.T) {
	t.Parallel()
	cluster := startAPIServer(t)
	mount := cluster.mount(t)
	cluster.account(t, "shop")
	cluster.account(t, "other")
	path := put(t, map[string]any{"key": "s3cret"})
	tests := map[string]struct {
		role, token string
		want        State
	}{
		"bound account":    {"shop", cluster.token(t, "shop", "vault"), OK},
		"unknown role":     {"absent", cluster.token(t, "shop", "vault"), WrongRole},
		"another account":  {"shop", cluster.token(t, "other", "vault"), WrongRole},
		"another audience": {"shop", cluster.token(t, "shop", "postern"), WrongRole},
		"not a token":      {"shop", "eyJhbGciOiJub25lIn0.e30.", LoginRefused},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := open(t, Kubernetes{Mount: mount, Role: tt.role, TokenFile: file(t, tt.token)}, nil)
			h.await(t, tt.want)
			v, err := hold(t, h, Ref{Path: path, Key: "key"}).Read(t.Context())
			var failure *Error
			if tt.want == OK && (err != nil || string(v.Reveal()) != "s3cret") || tt.want != OK && (!errors.As(err, &failure) || failure.State != tt.want) {
				t.Errorf("reading: %v, want %s", err, tt.want)
			}
		})
	}
}
