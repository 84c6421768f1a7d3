package policy

import (
	"crypto/ed25519"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/render"
)

// TestTrimConfigMap checks what the cache holds of ConfigMaps that anyone can create: nothing that the operator did not sign, except
// for the name by which their events reach the policy.
func TestTrimConfigMap(t *testing.T) {
	foreign := ed25519.NewKeyFromSeed([]byte(strings.Repeat("f", ed25519.SeedSize)))
	document := func(key ed25519.PrivateKey) *corev1.ConfigMap {
		p := tombstone(&observation{name: name})
		p.Revision = 3
		signed, err := compiled.Sign(p, key)
		if err != nil {
			t.Fatal(err)
		}
		return render.ConfigMap(name.Namespace, name.Name, signed)
	}
	huge := strings.Repeat("x", 900<<10)
	with := func(cm *corev1.ConfigMap, change func(*corev1.ConfigMap)) *corev1.ConfigMap {
		change(cm)
		return cm
	}
	for name, tc := range map[string]struct {
		cm                       *corev1.ConfigMap
		wantDocument, wantMarked bool
		wantRequests             int
	}{
		"ours":                 {document(key), true, false, 1},
		"of another key":       {document(foreign), false, true, 1},
		"with more data":       {with(document(key), func(cm *corev1.ConfigMap) { cm.Data["more"] = huge }), true, true, 1},
		"with binary data":     {with(document(key), func(cm *corev1.ConfigMap) { cm.BinaryData = map[string][]byte{"b": []byte(huge)} }), true, true, 1},
		"with annotations":     {with(document(key), func(cm *corev1.ConfigMap) { cm.Annotations = map[string]string{"a": huge} }), true, false, 1},
		"of another namespace": {with(document(key), func(cm *corev1.ConfigMap) { cm.Namespace = "bank" }), false, true, 1},
		"of another policy":    {with(document(key), func(cm *corev1.ConfigMap) { cm.Name = "postern-bills" }), false, true, 1},
		"no document":          {&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "x"}, Data: map[string]string{"a": huge}}, false, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := trimConfigMap(key.Public().(ed25519.PublicKey))(tc.cm)
			if err != nil {
				t.Fatal(err)
			}
			cm, size := got.(*corev1.ConfigMap), 0
			for k, v := range cm.Data {
				size += len(k) + len(v)
			}
			if size > 1<<10 || cm.BinaryData != nil || cm.Annotations != nil {
				t.Errorf("%d bytes of data, binary data %d, annotations %d are kept", size, len(cm.BinaryData), len(cm.Annotations))
			}
			policy, _ := render.PolicyIn(cm)
			documents, err := render.Reader{Key: key.Public().(ed25519.PublicKey)}.Open(cm, policy)
			if has := err == nil && len(documents) > 0; has != tc.wantDocument {
				t.Errorf("has a document: %t, want %t (%v)", has, tc.wantDocument, err)
			}
			if _, marked := cm.Data[dropped]; marked != tc.wantMarked {
				t.Errorf("marked as changed: %t, want %t", marked, tc.wantMarked)
			}
			if requests := ofConfigMap(t.Context(), cm); len(requests) != tc.wantRequests {
				t.Errorf("enqueues %v, want %d", requests, tc.wantRequests)
			}
		})
	}
}
