package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

// eventually waits until check returns nil.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(waitLimit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, waitLimit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func ready(port int) error {
	r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", port))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", r.StatusCode)
	}
	return nil
}

// newNamespace creates a namespace with a service account, and returns its name. The name is unique, because all tests share the
// server and can run several times.
func newNamespace(t *testing.T, name string, labels map[string]string) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-", Labels: labels}}
	create(t, namespace)
	create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: "app"}})
	return namespace.Name
}

func enabled() map[string]string {
	return map[string]string{v1alpha1.InjectionLabel: v1alpha1.InjectionLabelEnabled}
}

func newPolicy(namespace, name, app string) *v1alpha1.SecurityPolicy {
	return &v1alpha1.SecurityPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.SecurityPolicySpec{
			Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": app}},
			Headers:  &v1alpha1.Headers{Preset: v1alpha1.PresetStrict},
		},
	}
}

func newPod(namespace, name, app string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": app}},
		Spec: corev1.PodSpec{
			ServiceAccountName: "app",
			Containers:         []corev1.Container{{Name: "app", Image: "example.com/app:1", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}},
		},
	}
}

func create(t *testing.T, object client.Object) {
	t.Helper()
	if err := shared.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

// change reads the object, changes it and writes it. It retries on a conflict.
func change[T client.Object](t *testing.T, object T, edit func(T)) {
	t.Helper()
	eventually(t, "the change is written", func() error {
		if err := shared.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		edit(object)
		return shared.Update(t.Context(), object)
	})
}

// wantCondition waits for a condition of the policy.
func wantCondition(t *testing.T, p *v1alpha1.SecurityPolicy, kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	t.Helper()
	var found metav1.Condition
	eventually(t, fmt.Sprintf("policy %s says %s=%s, %s", p.Name, kind, status, reason), func() error {
		now := &v1alpha1.SecurityPolicy{}
		if err := shared.Get(t.Context(), client.ObjectKeyFromObject(p), now); err != nil {
			return err
		}
		c := meta.FindStatusCondition(now.Status.Conditions, kind)
		if c == nil || c.Status != status || c.Reason != reason || c.ObservedGeneration != now.Generation {
			return fmt.Errorf("the conditions are %+v", now.Status.Conditions)
		}
		found = *c
		return nil
	})
	return found
}

// tokenOf requests a token in the same way as the kubelet for a projected volume.
func tokenOf(t *testing.T, namespace string, pod *corev1.Pod, audience string) string {
	t.Helper()
	request := &authnv1.TokenRequest{Spec: authnv1.TokenRequestSpec{Audiences: []string{audience}}}
	if pod != nil {
		request.Spec.BoundObjectRef = &authnv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}
	}
	got, err := shared.HTTP.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), "app", request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Status.Token
}

// sidecar has the settings from a sidecar's environment.
type sidecar struct {
	url  string
	key  ed25519.PublicKey
	http *http.Client
}

// sidecarOf reads the environment that the webhook set in the pod.
func sidecarOf(t *testing.T, pod *corev1.Pod) sidecar {
	t.Helper()
	for _, c := range pod.Spec.InitContainers {
		if c.Name != render.SidecarName {
			continue
		}
		env := map[string]string{}
		for _, e := range c.Env {
			env[e.Name] = e.Value
		}
		key, err := base64.StdEncoding.DecodeString(env[compiled.EnvDocumentKey])
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(env[compiled.EnvOperatorCA])) {
			t.Fatal("the sidecar has no CA")
		}
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
		t.Cleanup(transport.CloseIdleConnections)
		return sidecar{url: env[compiled.EnvOperatorURL] + compiled.PollPath, key: key, http: &http.Client{Transport: transport}}
	}
	t.Fatalf("pod %s has no sidecar", pod.Name)
	return sidecar{}
}

// poll posts a report and returns the response.
func (s sidecar) poll(ctx context.Context, token, suffix string, report any) (int, []byte, error) {
	b, err := json.Marshal(report)
	if err != nil {
		return 0, nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+suffix, bytes.NewReader(b))
	if err != nil {
		return 0, nil, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := s.http.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// next polls once and returns the document, unverified, or nil if there is no newer document.
func (s sidecar) next(ctx context.Context, token string, report compiled.Report) (*compiled.Signed, error) {
	code, body, err := s.poll(ctx, token, "", report)
	if err != nil || code == http.StatusNoContent {
		return nil, err
	}
	if code != http.StatusOK {
		return nil, fmt.Errorf("the poll returned %d: %s", code, body)
	}
	signed := &compiled.Signed{}
	return signed, json.Unmarshal(body, signed)
}

// await polls until there is a document other than the one in the report, and verifies it.
func (s sidecar) await(t *testing.T, token string, report compiled.Report) (string, *compiled.Policy) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	for {
		signed, err := s.next(ctx, token, report)
		if err != nil {
			t.Fatal(err)
		}
		if signed == nil {
			continue
		}
		policy, err := signed.Open(s.key)
		if err != nil {
			t.Fatal(err)
		}
		return signed.Hash(), policy
	}
}

// configMapOf returns the policy's ConfigMap.
func configMapOf(t *testing.T, namespace, policy string) (*corev1.ConfigMap, error) {
	t.Helper()
	cm := &corev1.ConfigMap{}
	err := shared.Get(t.Context(), types.NamespacedName{Namespace: namespace, Name: render.ConfigMapName(policy)}, cm)
	return cm, err
}

// highest is the highest revision that wantRestored saw, by namespace.
var highest = map[string]int64{}

// publicOf returns the key that verifies documents, from the Secret that the operator wrote.
func publicOf(t *testing.T, secret *corev1.Secret) ed25519.PublicKey {
	t.Helper()
	block, _ := pem.Decode(secret.Data["signing.key"])
	if block == nil {
		t.Fatal("the signing key is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(ed25519.PrivateKey).Public().(ed25519.PublicKey)
}

// nameIn returns the name of the policy in the response's document.
func nameIn(t *testing.T, s sidecar, body []byte) string {
	t.Helper()
	var signed compiled.Signed
	if err := json.Unmarshal(body, &signed); err != nil {
		t.Fatal(err)
	}
	policy, err := signed.Open(s.key)
	if err != nil {
		t.Fatal(err)
	}
	return policy.Name
}
