package certs

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var secretName = types.NamespacedName{Namespace: "postern-system", Name: "one"}

func secret(data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secretName.Namespace, Name: secretName.Name}, Data: data}
}

func TestSigningKeyIsOneForAllReplicas(t *testing.T) {
	c := fake.NewClientBuilder().WithObjects(secret(nil)).Build()
	keys := make([]string, 4)
	var replicas sync.WaitGroup
	for i := range keys {
		replicas.Go(func() {
			key, err := SigningKey(t.Context(), c, secretName)
			if err != nil {
				t.Error(err)
			}
			keys[i] = string(key)
		})
	}
	replicas.Wait()
	for _, k := range keys {
		if k != keys[0] || k == "" {
			t.Fatal("the replicas have different keys")
		}
	}
}

func TestSigningKeyFails(t *testing.T) {
	ca := first(t)[keyCAKey]
	tests := map[string][]client.Object{
		"no Secret":             nil,
		"a key that is not PEM": {secret(map[string][]byte{keySigning: []byte("x")})},
		"a key of another kind": {secret(map[string][]byte{keySigning: ca})},
	}
	for name, objects := range tests {
		t.Run(name, func(t *testing.T) {
			c := fake.NewClientBuilder().WithObjects(objects...).Build()
			if _, err := SigningKey(t.Context(), c, secretName); err == nil {
				t.Error("want an error")
			}
			if len(objects) == 0 {
				return
			}
			now := &corev1.Secret{}
			if err := c.Get(t.Context(), secretName, now); err != nil || now.ResourceVersion != "999" {
				t.Errorf("the Secret was written: version %s, %v", now.ResourceVersion, err)
			}
		})
	}
}

func keeper(t *testing.T, mode Mode, c client.WithWatch) *Keeper {
	t.Helper()
	k, err := NewKeeper(Config{
		Client: c, Mode: mode, Secret: secretName, DNSNames: names, Webhook: "postern",
		Now: func() time.Time { return start },
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestEnsure(t *testing.T) {
	webhook := &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "postern"}, Webhooks: []admissionv1.MutatingWebhook{{Name: "a"}, {Name: "b"}},
	}
	validating := &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "postern"}, Webhooks: []admissionv1.ValidatingWebhook{{Name: "a"}},
	}
	tests := map[string]struct {
		mode Mode
		// validating names the ValidatingWebhookConfiguration.
		validating string
		objects    []client.Object
		updateErr  error
		wantErr    bool
		wantReady  bool
	}{
		"own, first start":              {mode: Own, objects: []client.Object{secret(nil), webhook}, wantReady: true},
		"own, no Secret":                {mode: Own, objects: []client.Object{webhook}, wantErr: true},
		"own, no webhook, still served": {mode: Own, objects: []client.Object{secret(nil)}, wantErr: true, wantReady: true},
		"own, the Secret cannot be written": {
			mode: Own, objects: []client.Object{secret(nil), webhook}, updateErr: errors.New("no"), wantErr: true,
		},
		"own, both webhooks": {mode: Own, validating: "postern", objects: []client.Object{secret(nil), webhook, validating}, wantReady: true},
		"own, no validating webhook, the other still written": {
			mode: Own, validating: "postern", objects: []client.Object{secret(nil), webhook}, wantErr: true, wantReady: true,
		},
		"cert-manager, not issued yet": {mode: CertManager, objects: []client.Object{secret(nil)}, wantErr: true},
		"cert-manager, issued":         {mode: CertManager, objects: []client.Object{secret(first(t))}, wantReady: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			writes := 0
			c := fake.NewClientBuilder().WithObjects(tt.objects...).WithInterceptorFuncs(interceptor.Funcs{
				Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
					writes++
					if tt.updateErr != nil {
						return tt.updateErr
					}
					return c.Update(ctx, o, opts...)
				},
			}).Build()
			k := keeper(t, tt.mode, c)
			k.cfg.Validating = tt.validating
			if err := k.Ensure(t.Context()); (err != nil) != tt.wantErr {
				t.Errorf("the error is %v", err)
			}
			if ready := k.Ready(nil) == nil; ready != tt.wantReady || ready != (k.CA() != nil) {
				t.Errorf("ready %t, CA %q", ready, k.CA())
			}
			if tt.mode == CertManager && writes > 0 {
				t.Error("an object of cert-manager was written")
			}
			if tt.validating != "" && !tt.wantErr {
				got := &admissionv1.ValidatingWebhookConfiguration{}
				if err := c.Get(t.Context(), types.NamespacedName{Name: "postern"}, got); err != nil {
					t.Fatal(err)
				}
				if string(got.Webhooks[0].ClientConfig.CABundle) != string(k.CA()) {
					t.Error("the validating webhook has another CA")
				}
			}
			if tt.mode == Own && (!tt.wantErr || tt.validating != "") {
				got := &admissionv1.MutatingWebhookConfiguration{}
				if err := c.Get(t.Context(), types.NamespacedName{Name: "postern"}, got); err != nil {
					t.Fatal(err)
				}
				for _, w := range got.Webhooks {
					if string(w.ClientConfig.CABundle) != string(k.CA()) {
						t.Errorf("webhook %s has another CA", w.Name)
					}
				}
			}
		})
	}
}
