package certs

import (
	"bytes"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

// TestDeletedSecretHeals deletes the Secret of the certificates, or its content, and checks that clients notice nothing.
func TestDeletedSecretHeals(t *testing.T) {
	webhook := &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "postern"}, Webhooks: []admissionv1.MutatingWebhook{{Name: "a"}},
	}
	for name, damage := range map[string]func(*testing.T, *Keeper, *corev1.Secret){
		"deleted": func(t *testing.T, k *Keeper, s *corev1.Secret) {
			if err := k.cfg.Client.Delete(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		},
		"created again by the chart, empty": func(t *testing.T, k *Keeper, s *corev1.Secret) {
			s.Data = nil
			if err := k.cfg.Client.Update(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			empty := secret(nil)
			empty.Labels, empty.Annotations = map[string]string{"app.kubernetes.io/managed-by": "Helm"}, map[string]string{"meta.helm.sh/release-name": "postern"}
			c := fake.NewClientBuilder().WithObjects(empty, webhook.DeepCopy()).Build()
			k := keeper(t, Own, c)
			changes := 0
			k.cfg.OnChange = func() { changes++ }
			get := func() *corev1.Secret {
				t.Helper()
				s := &corev1.Secret{}
				if err := c.Get(t.Context(), secretName, s); err != nil {
					t.Fatal(err)
				}
				return s
			}
			if err := k.Ensure(t.Context()); err != nil {
				t.Fatal(err)
			}
			before, identity := get(), k.Identity()
			damage(t, k, get())
			if err := k.Ensure(t.Context()); err != nil {
				t.Fatal(err)
			}
			after := get()
			for key, value := range before.Data {
				if !bytes.Equal(after.Data[key], value) {
					t.Errorf("%s of the Secret changed", key)
				}
			}
			if after.Labels["app.kubernetes.io/managed-by"] != "Helm" || after.Annotations["meta.helm.sh/release-name"] != "postern" {
				t.Errorf("Helm does not take the Secret for its own: %v, %v", after.Labels, after.Annotations)
			}
			if k.Identity() != identity || changes != 0 {
				t.Errorf("the identity changed %d times", changes)
			}
		})
	}
}

// TestIdentity replaces the CA with and without a bridge, and checks that the identity changes exactly when clients of the old CA do not
// trust the operator any more.
func TestIdentity(t *testing.T) {
	for name, tc := range map[string]struct {
		edit        func(map[string][]byte)
		now         time.Time
		wantChanged bool
	}{
		"serving certificate renewed":   {now: start.Add(servingLife)},
		"CA replaced before it expires": {now: start.Add(caLife - caMargin)},
		"CA expired":                    {now: start.Add(caLife), wantChanged: true},
		"CA key lost":                   {edit: func(d map[string][]byte) { d[keyCAKey] = []byte("x") }, now: start, wantChanged: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := secret(first(t))
			old := bytes.Clone(s.Data[keyCA])
			webhook := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "postern"}}
			c := fake.NewClientBuilder().WithObjects(s, webhook).Build()
			k := keeper(t, Own, c)
			changes := 0
			k.cfg.OnChange = func() { changes++ }
			if err := k.Ensure(t.Context()); err != nil {
				t.Fatal(err)
			}
			now := &corev1.Secret{}
			if err := c.Get(t.Context(), secretName, now); err != nil {
				t.Fatal(err)
			}
			if tc.edit != nil {
				tc.edit(now.Data)
				if err := c.Update(t.Context(), now); err != nil {
					t.Fatal(err)
				}
			}
			k.cfg.Now = func() time.Time { return tc.now }
			before := k.Identity()
			if err := k.Ensure(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := c.Get(t.Context(), secretName, now); err != nil {
				t.Fatal(err)
			}
			changed := k.Identity() != before
			if changed != tc.wantChanged || changed != (changes == 1) {
				t.Errorf("the identity changed: %t, %d signals", changed, changes)
			}
			if trusts(t, old, now.Data, tc.now) == changed {
				t.Errorf("the identity changed: %t, although clients of the old CA trust the operator: %t", changed, !changed)
			}
		})
	}
}

// TestSecondReplacementKeepsTheIdentity checks that the identity stays with each bridged successor.
func TestSecondReplacementKeepsTheIdentity(t *testing.T) {
	data := first(t)
	want, err := identityOf(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 2; i++ {
		if data, _, err = renew(data, names, start.Add(time.Duration(i)*(caLife-caMargin))); err != nil {
			t.Fatal(err)
		}
		if got, err := identityOf(data); err != nil || got != want {
			t.Errorf("after %d replacements the identity is %s, %v, want %s", i, got, err, want)
		}
	}
}

// TestDeletedSigningKeyHeals checks that the Secret of the signing key is created again with the key in use.
func TestDeletedSigningKeyHeals(t *testing.T) {
	c := fake.NewClientBuilder().WithObjects(secret(nil)).Build()
	key, err := SigningKey(t.Context(), c, secretName)
	if err != nil {
		t.Fatal(err)
	}
	k := &SigningKeeper{Client: c, Secret: secretName, Key: key}
	if err := k.compare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), secret(nil)); err != nil {
		t.Fatal(err)
	}
	if err := k.compare(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := SigningKey(t.Context(), c, secretName)
	if err != nil || !again.Equal(key) {
		t.Errorf("the Secret holds the key in use: %t, %v", again.Equal(key), err)
	}
}
