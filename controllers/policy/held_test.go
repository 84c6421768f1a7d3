package policy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
)

// later is the schema of a build that is two releases newer: version 2 added compression, and version 3 added cors.
var later = compiled.Schema{
	{Name: "spec.compression", Version: 2, Used: func(p *compiled.Policy) bool { return p.Compression != nil }},
	{Name: "spec.cors", Version: 3, Used: func(p *compiled.Policy) bool { return p.CORS != nil }},
}

// newLaterCluster returns a cluster with a policy that a newer build reconciles.
func newLaterCluster(t *testing.T) *cluster {
	t.Helper()
	l := newCluster(t)
	l.r.cfg.Schema = later
	l.edit(func(s *v1alpha1.SecurityPolicySpec) {
		p := &v1alpha1.SecurityPolicy{}
		trusting(p, v1alpha1.JWKS{URI: "https://corp/keys"})
		s.JWT, s.Selector = p.Spec.JWT, metav1.LabelSelector{MatchLabels: map[string]string{"app": "orders"}}
	})
	return l
}

// pod creates a pod whose sidecar reads up to that schema version; 0 means that it has not reported.
func (l *cluster) pod(podName string, reads int) *corev1.Pod {
	l.t.Helper()
	pod := bound(corev1.PodRunning)
	pod.Name, pod.Labels = podName, map[string]string{"app": "orders"}
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "orders", Controller: new(true)}}
	if reads > 0 {
		message, err := json.Marshal(compiled.Report{SchemaVersion: reads, Version: "0.1.0", Hash: "sha256:old"})
		if err != nil {
			l.t.Fatal(err)
		}
		pod.Status.Conditions = []corev1.PodCondition{{Type: deliver.ConditionSidecar, Message: string(message)}}
	}
	if err := l.c.Create(l.t.Context(), pod); err != nil {
		l.t.Fatal(err)
	}
	return pod
}

// want checks the schema versions of the stored documents, and that each has exactly these revocations.
func (l *cluster) want(versions []int, revoked ...string) []*document {
	l.t.Helper()
	stored, held := l.r.open(l.configMap(), name)
	if stored == nil {
		l.t.Fatal("there is no document")
	}
	all := append([]*document{stored}, held...)
	var got []int
	for _, d := range all {
		got = append(got, d.policy.SchemaVersion)
		var names []string
		for _, e := range d.policy.RevokedTokens {
			names = append(names, e.Name)
		}
		if !slices.Equal(names, revoked) {
			l.t.Errorf("the document of version %d revokes %q, want %q", d.policy.SchemaVersion, names, revoked)
		}
	}
	if !slices.Equal(got, versions) || len(l.configMap().Data) != 2*len(versions) {
		l.t.Fatalf("the documents are of versions %d in %d keys, want %d", got, len(l.configMap().Data), versions)
	}
	return all
}

func compress(s *v1alpha1.SecurityPolicySpec) { s.Compression = &v1alpha1.Compression{} }

func share(s *v1alpha1.SecurityPolicySpec) {
	s.CORS = &v1alpha1.CORS{AllowOrigins: []string{"https://a.example"}}
}

// TestOlderSidecarsKeepTheirDocument checks that the ConfigMap also holds a document that older sidecars can read, that both
// documents have the current revocations, and that the status names the feature, the pods and the restart. When the last older
// sidecar has restarted, its document is removed.
func TestOlderSidecarsKeepTheirDocument(t *testing.T) {
	l := newLaterCluster(t)
	old := l.pod("orders-0", 1)
	l.pod("orders-1", 3)
	l.reconcile()
	before := l.want([]int{1})[0]

	l.edit(compress)
	l.reconcile()
	all := l.want([]int{2, 1})
	if all[1].policy.Compression != nil || !sameButRevocations(all[1].policy, before.policy) {
		t.Errorf("older sidecars get %+v", all[1].policy)
	}
	if all[0].policy.Revision != all[1].policy.Revision+1 {
		t.Errorf("the revisions are %d and %d: a new pod, whose floor is the first, could accept the second", all[0].policy.Revision, all[1].policy.Revision)
	}
	data := l.configMap().Data
	if v1, err := compiled.Decode([]byte(data[compiled.DocumentKey])); err != nil || v1.Compression != nil {
		t.Errorf("older sidecars read %v, %v", v1, err)
	}
	enforced := apimeta.FindStatusCondition(l.policy().Status.Conditions, v1alpha1.ConditionEnforced)
	for _, want := range []string{"spec.compression", "orders-0", "kubectl rollout restart statefulset/orders -n shop", "still applies revocations"} {
		if enforced.Reason != v1alpha1.ReasonSidecarTooOld || !strings.Contains(enforced.Message, want) {
			t.Errorf("Enforced is %s, %q; want %q in it", enforced.Reason, enforced.Message, want)
		}
	}

	if err := l.c.Create(t.Context(), tokenRevocation("stolen", "j")); err != nil {
		t.Fatal(err)
	}
	l.reconcile()
	l.want([]int{2, 1}, "stolen")
	l.restartOperator()
	l.reconcile()
	l.want([]int{2, 1}, "stolen")
	l.edit(invalidate) // the same holds for a policy that cannot be compiled
	l.reconcile()
	l.want([]int{2, 1}, "stolen")
	l.edit(repair)

	if err := l.c.Delete(t.Context(), old, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	l.reconcile()
	l.want([]int{2}, "stolen")
}

func (l *cluster) restartOperator() {
	l.restart()
	l.r.cfg.Schema = later
}

// TestHeldDocuments checks that the newest readable document is held for each sidecar, and that no other document is held.
func TestHeldDocuments(t *testing.T) {
	tests := map[string]struct {
		// reads are the schema versions that the pods' sidecars read; 0 means that a sidecar has not reported.
		reads []int
		edits []func(*v1alpha1.SecurityPolicySpec)
		want  []int
	}{
		"no feature":                 {[]int{1, 1}, nil, []int{1}},
		"no older sidecar":           {[]int{2, 3}, []func(*v1alpha1.SecurityPolicySpec){compress}, []int{2}},
		"no pod":                     {nil, []func(*v1alpha1.SecurityPolicySpec){compress}, []int{2}},
		"one has not reported":       {[]int{0, 3}, []func(*v1alpha1.SecurityPolicySpec){compress}, []int{2, 1}},
		"three versions":             {[]int{1, 2, 3}, []func(*v1alpha1.SecurityPolicySpec){compress, share}, []int{3, 2, 1}},
		"two features at once":       {[]int{1, 2}, []func(*v1alpha1.SecurityPolicySpec){func(s *v1alpha1.SecurityPolicySpec) { compress(s); share(s) }}, []int{3, 1}},
		"a feature is removed again": {[]int{1}, []func(*v1alpha1.SecurityPolicySpec){compress, func(s *v1alpha1.SecurityPolicySpec) { s.Compression = nil }}, []int{1}},
		"the oldest reads version 2": {[]int{2}, []func(*v1alpha1.SecurityPolicySpec){compress, share}, []int{3, 2}},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			l := newLaterCluster(t)
			for i, reads := range tt.reads {
				l.pod(strings.Repeat("x", i+1), reads)
			}
			l.reconcile()
			for _, edit := range tt.edits {
				l.edit(edit)
				l.reconcile()
			}
			l.want(tt.want)
			writes := l.configMap().ResourceVersion
			l.reconcile()
			if got := l.configMap().ResourceVersion; got != writes {
				t.Error("the ConfigMap was written again although nothing changed")
			}
		})
	}
}

// TestHeldDocumentsAreRetired checks that the held documents of a deleted policy become tombstones, too.
func TestHeldDocumentsAreRetired(t *testing.T) {
	l := newLaterCluster(t)
	l.pod("orders-0", 1)
	l.reconcile()
	l.edit(compress)
	l.reconcile()
	l.want([]int{2, 1})
	if err := l.c.Delete(t.Context(), l.policy()); err != nil {
		t.Fatal(err)
	}
	l.reconcile()
	for _, d := range l.want([]int{2, 1}) {
		if !d.policy.Deleted {
			t.Errorf("the document of version %d is not a tombstone", d.policy.SchemaVersion)
		}
	}
}

// TestOldHeldDocumentRestored checks that a held document is not used if it was not written together with the current one.
func TestOldHeldDocumentRestored(t *testing.T) {
	l := newLaterCluster(t)
	l.pod("orders-0", 1)
	l.reconcile()
	old := l.configMap().Data
	l.edit(compress)
	l.reconcile()
	mixed := l.configMap().Data
	mixed[compiled.DocumentKey], mixed[compiled.SignatureKey] = old[compiled.DocumentKey], old[compiled.SignatureKey]
	l.restore(mixed)
	stored, held := l.r.open(l.configMap(), name)
	if stored == nil || len(held) != 0 {
		t.Errorf("%v is held beside %v", held, stored)
	}
}

// TestHeldDocumentsFit checks that all documents together fit into a ConfigMap.
func TestHeldDocumentsFit(t *testing.T) {
	large := func(version int) *document {
		p := tombstone(&observation{name: name})
		p.Deleted, p.SchemaVersion, p.Revision = false, version, 1
		p.Headers = &compiled.Headers{Preset: "API", HeaderRules: compiled.HeaderRules{Set: []compiled.HeaderField{{Name: "X", Value: strings.Repeat("x", compiled.MaxSize/2)}}}}
		return &document{policy: p}
	}
	pod := bound(corev1.PodRunning)
	o := &observation{name: name, stored: large(1), pods: []corev1.Pod{*pod}}
	if got := hold(o, large(2).policy, time.Unix(1e9, 0)); len(got) != 0 {
		t.Errorf("%d documents are held beside one that fills the ConfigMap", len(got))
	}
	small := large(2)
	small.policy.Headers = nil
	if got := hold(o, small.policy, time.Unix(1e9, 0)); len(got) != 1 {
		t.Errorf("%d documents are held, want 1", len(got))
	}
}

// TestOneKeyForEachVersion checks that older sidecars find their document under the same keys as before.
func TestOneKeyForEachVersion(t *testing.T) {
	cm := render.ConfigMap("shop", "orders", compiled.Signed{Document: []byte(`{"schemaVersion":2}`)}, compiled.Signed{Document: []byte(`{"schemaVersion":1}`)})
	for _, key := range []string{"document.v2.json", "signature.v2", "document.json", "signature"} {
		if _, ok := cm.Data[key]; !ok {
			t.Errorf("there is no %s in %v", key, cm.Data)
		}
	}
}
