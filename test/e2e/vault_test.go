//go:build e2e

package e2e

import (
	"path"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
)

// vaultNamespace is the namespace into which run.sh installs Vault, with hack/vault/up.sh.
const vaultNamespace = "vault"

// vaultServer is the administrator's access to Vault from outside of the cluster.
type vaultServer struct {
	*api.Client
	ca []byte
}

func newVault(t *testing.T) *vaultServer {
	t.Helper()
	c := connect(t)
	root, tls, service := &corev1.Secret{}, &corev1.Secret{}, &corev1.Service{}
	for name, object := range map[string]client.Object{"vault-root": root, "vault-tls": tls, "vault": service} {
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: vaultNamespace, Name: name}, object); err != nil {
			t.Fatalf("reading the access to Vault: %v", err)
		}
	}
	config := api.DefaultConfig()
	v := &vaultServer{ca: tls.Data["tls.crt"]}
	if err := config.ConfigureTLS(&api.TLSConfig{CACertBytes: v.ca, TLSServerName: "vault." + vaultNamespace + ".svc"}); err != nil {
		t.Fatal(err)
	}
	config.Address = "https://" + service.Spec.ClusterIP + ":8200"
	var err error
	if v.Client, err = api.NewClient(config); err != nil {
		t.Fatal(err)
	}
	secrets.add("the root token of Vault", string(root.Data["token"]))
	v.SetToken(string(root.Data["token"]))
	return v
}

// put writes a version of a KV secret. Its path begins with secret/.
func (v *vaultServer) put(t *testing.T, path string, data map[string]any) {
	t.Helper()
	if _, err := v.KVv2("secret").Put(t.Context(), strings.TrimPrefix(path, "secret/"), data); err != nil {
		t.Fatalf("putting %s: %v", path, err)
	}
}

// login logs in with the role "postern", and returns a client with the granted token.
func (v *vaultServer) login(t *testing.T, token string) (*api.Client, error) {
	t.Helper()
	user, err := v.CloneWithHeaders()
	if err != nil {
		t.Fatal(err)
	}
	user.ClearToken()
	granted, err := user.Logical().WriteWithContext(t.Context(), "auth/kubernetes/login", map[string]any{"role": "postern", "jwt": token})
	if err != nil {
		return nil, err
	}
	user.SetToken(granted.Auth.ClientToken)
	return user, nil
}

// projected mounts a token of the pod's service account for an audience. The audience is also the name of the volume.
func projected(audience string) change {
	return func(spec *corev1.PodSpec) {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: audience, VolumeSource: corev1.VolumeSource{
			Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
				ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: audience, Path: "token", ExpirationSeconds: ptr.To(int64(600))},
			}}},
		}})
		app := &spec.Containers[0]
		app.VolumeMounts = append(app.VolumeMounts, corev1.VolumeMount{Name: audience, MountPath: "/tokens/" + audience, ReadOnly: true})
	}
}

// tokenOf reads a token that the kubelet projected into a pod.
func tokenOf(t *testing.T, pod *corev1.Pod, audience string) string {
	t.Helper()
	token, err := onNode("cat", path.Join("/var/lib/kubelet/pods", string(pod.UID), "volumes/kubernetes.io~projected", audience, "token"))
	if err != nil {
		t.Fatalf("reading the token of pod %s: %v: %s", pod.Name, err, token)
	}
	return token
}

// testVaultLogin: Vault checks a pod's token with the API server, and accepts only tokens of the bound service accounts.
func testVaultLogin(t *testing.T) {
	v := newVault(t)
	inside := newBareSpace(t, v1alpha1.InjectionLabel+"="+v1alpha1.InjectionLabelEnabled)
	outside := newBareSpace(t)
	secretPath := "secret/" + inside.name + "/login"
	v.put(t, secretPath, map[string]any{"key": "s3cret"})
	inside.create(pod(inside.name, "app", projected("vault"), projected("postern")))
	outside.create(pod(outside.name, "app", projected("vault")))
	app, stranger := inside.ready("app"), outside.ready("app")

	user, err := v.login(t, tokenOf(t, app, "vault"))
	if err != nil {
		t.Fatalf("logging in with a pod's token: %v", err)
	}
	got, err := user.KVv2("secret").Get(t.Context(), strings.TrimPrefix(secretPath, "secret/"))
	if err != nil || got.Data["key"] != "s3cret" {
		t.Errorf("reading a secret: %+v, %v", got, err)
	}
	if _, err := user.KVv2("secret").Get(t.Context(), "private/x"); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("reading what the policy forbids: %v", err)
	}
	for name, tt := range map[string]struct{ token, wantErr string }{
		"another audience":  {tokenOf(t, app, "postern"), "invalid audience"},
		"another namespace": {tokenOf(t, stranger, "vault"), "namespace not authorized"},
	} {
		if _, err := v.login(t, tt.token); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s: logging in: %v; want %q", name, err, tt.wantErr)
		}
	}
}
