package inject

import (
	"crypto/ed25519"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/render"
)

// Bounds of the memo: entries of each kind, and bytes of a policy's spec, or of a ConfigMap, that makes an entry. Larger ones are rare, and
// are compiled and decoded each time.
const (
	maxMemo      = 512
	maxMemoBytes = 16 << 10
)

// memo keeps what the preparations of the pods of a policy have in common and what costs most of them: the compiled document, and the
// decoded document of the ConfigMap. Both are pure functions, and a key holds all that the function depends on. So an entry is never
// outdated: what changed has another key. Nothing else is kept, so the policy, its class, its ConfigMap and the namespace are read for each
// preparation as before. Entries are shared, and must not be changed.
//
// An object without a UID or a version, which no API server returns, has no entry.
type memo struct {
	compilations *lru.Cache // compilation → *compiled.Policy
	openings     *lru.Cache // opening → *compiled.Policy
}

// compilation is what the document of a valid policy depends on. The generation stands for the spec; name and namespace follow from the
// UID. Compile reads no other part of a policy: the status and the annotations do not count. The version of the class stands for all of it.
type compilation struct {
	policy       types.UID
	generation   int64
	class        types.UID
	classVersion string
}

// opening is what the document in a ConfigMap depends on: the version stands for the data and the labels. The key that verifies it
// changes when the operator gets another signing key.
type opening struct {
	configMap types.UID
	version   string
	policy    string
	key       string
}

func newMemo() *memo { return &memo{lru.New(maxMemo), lru.New(maxMemo)} }

// document returns the document for which the pod's sidecar is rendered, as documentFor does. Only that of a valid policy is kept: the
// last good document of another may change without the policy.
func (m *memo) document(in compile.Input, class *v1alpha1.SidecarClass) (*compiled.Policy, error) {
	key := compilation{in.Policy.UID, in.Policy.Generation, class.UID, class.ResourceVersion}
	whole := key.policy != "" && key.generation > 0 && key.class != "" && key.classVersion != "" && in.Size <= maxMemoBytes
	if whole {
		if known, ok := m.compilations.Get(key); ok {
			return known.(*compiled.Policy), nil
		}
	}
	document, valid, err := documentFor(in)
	if whole && valid && err == nil {
		m.compilations.Add(key, document)
	}
	return document, err
}

// open returns the newest document in the policy's ConfigMap; nil if the operator did not sign it for this policy.
func (m *memo) open(cm *corev1.ConfigMap, policy string, verify ed25519.PublicKey) *compiled.Policy {
	key := opening{cm.UID, cm.ResourceVersion, policy, string(verify)}
	whole := key.configMap != "" && key.version != "" && sizeOf(cm) <= maxMemoBytes
	if whole {
		if known, ok := m.openings.Get(key); ok {
			return known.(*compiled.Policy)
		}
	}
	documents, err := render.Reader{Key: verify}.Open(cm, policy)
	if err != nil {
		return nil
	}
	if whole {
		m.openings.Add(key, documents[0].Policy)
	}
	return documents[0].Policy
}

// sizeOf returns the bytes of the ConfigMap's data.
func sizeOf(cm *corev1.ConfigMap) (n int) {
	for _, v := range cm.Data {
		n += len(v)
	}
	for _, v := range cm.BinaryData {
		n += len(v)
	}
	return n
}
