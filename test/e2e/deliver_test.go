//go:build e2e

package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/render"
)

// testDelivery: the operator's long poll delivers only the document of the pod's own policy, and refuses everyone else.
func testDelivery(t *testing.T) {
	s := newSpace(t)
	for _, name := range []string{"alpha", "beta"} {
		s.apply(denied, "NAME", name, "LABEL", "app: "+name, "ROLLOUT", "Manual")
		s.create(pod(s.name, name))
	}
	s.client()
	alpha := s.ready("alpha")
	s.ready("beta")
	s.enforced("alpha", 1)
	o := s.operator(alpha)
	good := s.podToken(alpha, compiled.OperatorAudience)

	for name, query := range map[string]string{"plainly": "", "requesting another policy": "?namespace=" + s.name + "&policy=beta&name=beta"} {
		t.Run("own document, "+name, func(t *testing.T) {
			status, body := o.poll(t, query, good, `{"schemaVersion":1,"policy":"beta","name":"beta"}`)
			var signed compiled.Signed
			var document compiled.Policy
			if err := json.Unmarshal(body, &signed); err != nil || status != http.StatusOK {
				t.Fatalf("status %d: %v: %.300s", status, err, body)
			}
			if err := json.Unmarshal(signed.Document, &document); err != nil || document.Name != "alpha" || document.Namespace != s.name {
				t.Errorf("got the document of %s/%s: %v", document.Namespace, document.Name, err)
			}
		})
	}
	unbound := s.token(&authnv1.TokenRequest{Spec: authnv1.TokenRequestSpec{Audiences: []string{compiled.OperatorAudience}}})
	gone := pod(s.name, "gone")
	gone.Labels["app"] = "alpha"
	s.create(gone)
	ofGone := s.podToken(gone, compiled.OperatorAudience)
	if err := s.c.Delete(t.Context(), gone, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		token, path string
		wantStatus  int
	}{
		"no token":                   {wantStatus: 401},
		"nonsense":                   {token: "nonsense", wantStatus: 401},
		"forged":                     {token: good[:strings.LastIndex(good, ".")+1] + strings.Repeat("A", 342), wantStatus: 401},
		"the API server's":           {token: s.podToken(alpha, ""), wantStatus: 401},
		"another audience":           {token: s.podToken(alpha, "vault"), wantStatus: 401},
		"not of a pod":               {token: unbound, wantStatus: 401},
		"of a deleted pod":           {token: ofGone, wantStatus: 401},
		"of a pod without a sidecar": {token: s.podToken(s.ready("client"), compiled.OperatorAudience), wantStatus: 403},
		"another path":               {token: good, path: "/beta", wantStatus: 404},
	} {
		t.Run(name, func(t *testing.T) {
			if status, body := o.poll(t, test.path, test.token, `{"schemaVersion":1}`); status != test.wantStatus || bytes.Contains(body, []byte("signature")) {
				t.Errorf("status %d, want %d: %.300s", status, test.wantStatus, body)
			}
		})
	}
}

// operator is the connection that sidecars use.
type operator struct {
	url    string
	client *http.Client
}

// operator reads from the pod how its sidecar connects to the operator.
func (s *space) operator(p *corev1.Pod) operator {
	s.t.Helper()
	environment := map[string]string{}
	for _, c := range p.Spec.InitContainers {
		if c.Name == render.SidecarName {
			for _, e := range c.Env {
				environment[e.Name] = e.Value
			}
		}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(environment[compiled.EnvOperatorCA])) {
		s.t.Fatalf("no CA in %v", environment)
	}
	url := strings.TrimPrefix(environment[compiled.EnvOperatorURL], "https://")
	name, port, _ := strings.Cut(url, ":")
	service := &corev1.Service{}
	parts := strings.Split(name, ".")
	if err := s.c.Get(s.t.Context(), client.ObjectKey{Namespace: parts[1], Name: parts[0]}, service); err != nil {
		s.t.Fatal(err)
	}
	return operator{
		url: fmt.Sprintf("https://%s:%s%s", service.Spec.ClusterIP, port, compiled.PollPath),
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name},
		}},
	}
}

// poll sends one poll request.
func (o operator) poll(t *testing.T, suffix, token, report string) (status int, body []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, o.url+suffix, strings.NewReader(report))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := o.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err = io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, body
}

// podToken returns a token as the kubelet would project it into the pod. Without an audience it is a token for the API server.
func (s *space) podToken(p *corev1.Pod, audience string) string {
	s.t.Helper()
	request := &authnv1.TokenRequest{Spec: authnv1.TokenRequestSpec{
		ExpirationSeconds: ptr.To(int64(600)),
		BoundObjectRef:    &authnv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.Name, UID: p.UID},
	}}
	if audience != "" {
		request.Spec.Audiences = []string{audience}
	}
	return s.token(request)
}

func (s *space) token(request *authnv1.TokenRequest) string {
	s.t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: "default"}}
	if err := s.c.SubResource("token").Create(s.t.Context(), account, request); err != nil {
		s.t.Fatalf("requesting token: %v", err)
	}
	secrets.addToken("a token of a service account", request.Status.Token)
	return request.Status.Token
}
