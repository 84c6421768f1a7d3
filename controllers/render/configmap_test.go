package render

import (
	"crypto/ed25519"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
)

func TestConfigMapKeepsDocument(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	want, err := compiled.Sign(&compiled.Policy{Namespace: "shop", Name: "orders"}, key)
	if err != nil {
		t.Fatal(err)
	}
	cm := ConfigMap("shop", "orders", want)
	if cm.Namespace != "shop" || cm.Name != "postern-orders" {
		t.Errorf("ConfigMap is %s/%s", cm.Namespace, cm.Name)
	}
	wantLabels := map[string]string{"app.kubernetes.io/managed-by": "postern", "postern.dev/policy": "orders"}
	if !reflect.DeepEqual(cm.Labels, wantLabels) {
		t.Errorf("labels are %v, want %v", cm.Labels, wantLabels)
	}
	got, found, err := Signed(cm, 1)
	if err != nil || !found || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want the signed document", got, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		data map[string]string
		want string
	}{
		"no document":          {map[string]string{compiled.SignatureKey: ""}, "has no document.json"},
		"signature not base64": {map[string]string{compiled.DocumentKey: "{}", compiled.SignatureKey: "%"}, "decoding signature"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := (Reader{}).Open(&corev1.ConfigMap{Data: tc.data}, "orders"); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want one that says %q", err, tc.want)
			}
		})
	}
}
