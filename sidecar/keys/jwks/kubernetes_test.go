package jwks

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// TestKeysOfTheKubernetesAPI: the key set of a real API server, with a token as the kubelet projects it. It verifies tokens of
// service accounts.
func TestKeysOfTheKubernetesAPI(t *testing.T) {
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
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	accounts := client.CoreV1().ServiceAccounts("default")
	if _, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	projected := func(audiences ...string) string {
		response, err := accounts.CreateToken(t.Context(), "shop",
			&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return response.Status.Token
	}
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, config.CAData, 0o600); err != nil {
		t.Fatal(err)
	}
	uri := strings.TrimSuffix(config.Host, "/") + "/openid/v1/jwks"
	if !strings.HasPrefix(uri, "https://") {
		uri = "https://" + uri
	}
	with := func(token string) Source {
		m, _ := newTestManager(t, &clock{}) // a new one inherits no keys
		path := tokenFile(t, token)
		return acquire(t, m, Spec{Provider: path, Algorithms: []string{"RS256", "ES256"}, URI: uri, CAFile: ca, Bearer: secret.File(path), BearerName: path})
	}
	source := with(projected())
	var keys []*Key
	// The API server grants the right to read its key set to service accounts shortly after its start.
	eventually(t, "the key set is fetched with the pod's token", func() bool {
		keys, err = source.Lookup(t.Context(), "", "ES256")
		return err == nil && len(keys) == 1
	})
	workload := projected("shop")
	dot := strings.LastIndexByte(workload, '.')
	if err := keys[0].Verify(workload[:dot], decode(t, workload[dot+1:])); err != nil {
		t.Errorf("a token of a service account: %v", err)
	}
	if _, err := with(workload).Lookup(t.Context(), "", "ES256"); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "status 401") {
		t.Errorf("with a token of another audience: %v", err)
	}
}
