package render

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/compiled"
)

// ConfigMap returns the ConfigMap that holds a policy's signed documents, at most one per schema version. Each document is stored
// unchanged, and its signature in standard base64. The ConfigMap has no owner.
func ConfigMap(namespace, policy string, documents ...compiled.Signed) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      ConfigMapName(policy),
			Labels:    map[string]string{"app.kubernetes.io/managed-by": "postern", PolicyLabel: LabelValue(policy)},
		},
		Data: map[string]string{},
	}
	for _, signed := range documents {
		document, signature := compiled.DocumentKeys(signed.Version())
		cm.Data[document], cm.Data[signature] = string(signed.Document), base64.StdEncoding.EncodeToString(signed.Signature)
	}
	return cm
}

// Signed returns the ConfigMap's document of that schema version; false if there is none. It does not verify the signature.
func Signed(cm *corev1.ConfigMap, version int) (compiled.Signed, bool, error) {
	documentKey, signatureKey := compiled.DocumentKeys(version)
	document, ok := cm.Data[documentKey]
	if !ok {
		return compiled.Signed{}, false, nil
	}
	signature, err := base64.StdEncoding.DecodeString(cm.Data[signatureKey])
	if err != nil {
		return compiled.Signed{}, true, fmt.Errorf("reading ConfigMap %q: decoding %s: %w", cm.Name, signatureKey, err)
	}
	return compiled.Signed{Document: []byte(document), Signature: signature}, true, nil
}

// errOtherPolicy is returned for a document that was copied from the ConfigMap of another policy.
var errOtherPolicy = errors.New("the document belongs to another policy")

// PolicyIn returns the policy's name from one of the ConfigMap's documents, without verifying it; false if none has a name.
func PolicyIn(cm *corev1.ConfigMap) (string, bool) {
	for _, key := range slices.Sorted(maps.Keys(cm.Data)) {
		var head struct{ Name string }
		if strings.HasPrefix(key, "document.") && json.Unmarshal([]byte(cm.Data[key]), &head) == nil && head.Name != "" {
			return head.Name, true
		}
	}
	return "", false
}

// Document is a verified document of a ConfigMap.
type Document struct {
	Signed compiled.Signed
	Hash   string
	Policy *compiled.Policy
}

// Reader reads documents whose signature Key verifies, with the schema versions that Schema reads.
type Reader struct {
	Schema compiled.Schema
	Key    ed25519.PublicKey
}

// Open returns the documents of the ConfigMap that were signed for that policy, the newest schema version first. The first is
// the policy's document; the others are for older sidecars. If the document of the newest version cannot be opened, Open returns
// the error and no documents.
func (r Reader) Open(cm *corev1.ConfigMap, policy string) ([]Document, error) {
	var out []Document
	for version := r.Schema.Newest(); version >= 1; version-- {
		signed, found, err := Signed(cm, version)
		if !found {
			continue
		}
		var document *compiled.Policy
		if err == nil {
			document, err = r.open(signed, cm.Namespace, policy)
		}
		switch {
		case err == nil && !follows(out, document):
		case err == nil:
			out = append(out, Document{Signed: signed, Hash: signed.Hash(), Policy: document})
		case len(out) == 0:
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("reading ConfigMap %q: it has no %s", cm.Name, compiled.DocumentKey)
	}
	return out, nil
}

// follows reports whether the document was written together with those before it: each revision is one lower than the previous.
// Any other document was added later.
func follows(before []Document, next *compiled.Policy) bool {
	return len(before) == 0 || next.Revision == before[len(before)-1].Policy.Revision-1
}

func (r Reader) open(signed compiled.Signed, namespace, policy string) (*compiled.Policy, error) {
	document, err := signed.OpenAs(r.Schema, r.Key)
	if err != nil {
		return nil, fmt.Errorf("opening document: %w", err)
	}
	if document.Namespace != namespace || document.Name != policy {
		return nil, errOtherPolicy
	}
	return document, nil
}
