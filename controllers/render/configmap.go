package render

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/compiled"
)

// ConfigMap returns the ConfigMap that holds a policy's signed document: the document to the byte, and the signature in
// standard base64. It has no owner yet.
func ConfigMap(namespace, policy string, signed compiled.Signed) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      ConfigMapName(policy),
			Labels:    map[string]string{"app.kubernetes.io/managed-by": "postern", PolicyLabel: LabelValue(policy)},
		},
		Data: map[string]string{
			compiled.DocumentKey:  string(signed.Document),
			compiled.SignatureKey: base64.StdEncoding.EncodeToString(signed.Signature),
		},
	}
}

// Signed reads the document back. A ConfigMap without one is an error; the signature is not verified here.
func Signed(cm *corev1.ConfigMap) (compiled.Signed, error) {
	document, ok := cm.Data[compiled.DocumentKey]
	if !ok {
		return compiled.Signed{}, fmt.Errorf("reading ConfigMap %q: it has no %s", cm.Name, compiled.DocumentKey)
	}
	signature, err := base64.StdEncoding.DecodeString(cm.Data[compiled.SignatureKey])
	if err != nil {
		return compiled.Signed{}, fmt.Errorf("reading ConfigMap %q: decoding %s: %w", cm.Name, compiled.SignatureKey, err)
	}
	return compiled.Signed{Document: []byte(document), Signature: signature}, nil
}

// errOtherPolicy is for a document that was copied from one policy's ConfigMap into another's.
var errOtherPolicy = errors.New("the document is of another policy")

// Open returns the ConfigMap's document and its hash, where key's owner signed it for that policy.
func Open(cm *corev1.ConfigMap, key ed25519.PublicKey, policy string) (*compiled.Policy, string, error) {
	signed, err := Signed(cm)
	if err != nil {
		return nil, "", err
	}
	document, err := signed.Open(key)
	if err != nil {
		return nil, "", fmt.Errorf("opening document: %w", err)
	}
	if document.Namespace != cm.Namespace || document.Name != policy {
		return nil, "", errOtherPolicy
	}
	return document, signed.Hash(), nil
}
