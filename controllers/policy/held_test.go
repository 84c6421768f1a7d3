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

// later is the schema of a build two releases on: compression came with version 2, and cors with 3.
var later = compiled.Schema{
	{Name: "spec.compression", Version: 2, Used: func(p *compiled.Policy) bool { return p.Compression != nil }},
	{Name: "spec.cors", Version: 3, Used: func(p *compiled.Policy) bool { return p.CORS != nil }},
}

// newLaterLife is a policy that is reconciled by a later build.
func newLaterLife(t *testing.T) *life {
	t.Helper()
	l := newLife(t)
	l.r.cfg.Schema = later
	l.edit(func(s *v1alpha1.SecurityPolicySpec) {
		p := &v1alpha1.SecurityPolicy{}
		trusting(p, v1alpha1.JWKS{URI: "https://corp/keys"})
		s.JWT, s.Selector = p.Spec.JWT, metav1.LabelSelector{MatchLabels: map[string]string{"app": "orders"}}
	})
	return l
}

// pod creates a pod whose sidecar reads that schema version; 0 where it has not reported.
func (l *life) pod(podName string, reads int) *corev1.Pod {
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

// want checks the schema versions of the stored documents, and that each revokes exactly these.
func (l *life) want(versions []int, revoked ...string) []*document {
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

// TestOlderSidecarsKeepTheirDocument: what they cannot read stands beside what they can, both with what is revoked now; the
// status names the feature, the pods and the restart; and when the last of them has restarted, their document goes.
func TestOlderSidecarsKeepTheirDocument(t *testing.T) {
	l := newLaterLife(t)
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
		t.Errorf("the revisions are %d and %d: a new pod, whose floor is the first, could take the second", all[0].policy.Revision, all[1].policy.Revision)
	}
	data := l.configMap().Data
	if v1, err := compiled.Decode([]byte(data[compiled.DocumentKey])); err != nil || v1.Compression != nil {
		t.Errorf("where older sidecars look there is %v, %v", v1, err)
	}
	enforced := apimeta.FindStatusCondition(l.policy().Status.Conditions, v1alpha1.ConditionEnforced)
	for _, want := range []string{"spec.compression", "orders-0", "kubectl rollout restart statefulset/orders -n shop", "still takes revocations"} {
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
	l.edit(spoil) // and with a policy that cannot be compiled
	l.reconcile()
	l.want([]int{2, 1}, "stolen")
	l.edit(repair)

	if err := l.c.Delete(t.Context(), old, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	l.reconcile()
	l.want([]int{2}, "stolen")
}

func (l *life) restartOperator() {
	l.restart()
	l.r.cfg.Schema = later
}

// TestWhatIsHeld: for each sidecar the newest document that it reads, and nothing that nobody needs.
func TestWhatIsHeld(t *testing.T) {
	tests := map[string]struct {
		// reads are what the pods' sidecars read; 0 where they have not reported.
		reads []int
		edits []func(*v1alpha1.SecurityPolicySpec)
		want  []int
	}{
		"no feature":               {[]int{1, 1}, nil, []int{1}},
		"nobody is older":          {[]int{2, 3}, []func(*v1alpha1.SecurityPolicySpec){compress}, []int{2}},
		"no pod":                   {nil, []func(*v1alpha1.SecurityPolicySpec){compress}, []int{2}},
		"one has not reported":     {[]int{0, 3}, []func(*v1alpha1.SecurityPolicySpec){compress}, []int{2, 1}},
		"of three ages":            {[]int{1, 2, 3}, []func(*v1alpha1.SecurityPolicySpec){compress, share}, []int{3, 2, 1}},
		"two steps at once":        {[]int{1, 2}, []func(*v1alpha1.SecurityPolicySpec){func(s *v1alpha1.SecurityPolicySpec) { compress(s); share(s) }}, []int{3, 1}},
		"a feature is taken back":  {[]int{1}, []func(*v1alpha1.SecurityPolicySpec){compress, func(s *v1alpha1.SecurityPolicySpec) { s.Compression = nil }}, []int{1}},
		"the oldest is in between": {[]int{2}, []func(*v1alpha1.SecurityPolicySpec){compress, share}, []int{3, 2}},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			l := newLaterLife(t)
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
				t.Error("it is written again though nothing changed")
			}
		})
	}
}

// TestHeldDocumentsAreRetired: when the policy is deleted, older sidecars learn it, too.
func TestHeldDocumentsAreRetired(t *testing.T) {
	l := newLaterLife(t)
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
			t.Errorf("the document of version %d is no tombstone", d.policy.SchemaVersion)
		}
	}
}

// TestAnOldHeldDocumentPutBack is not the one that was written with the other.
func TestAnOldHeldDocumentPutBack(t *testing.T) {
	l := newLaterLife(t)
	l.pod("orders-0", 1)
	l.reconcile()
	old := l.configMap().Data
	l.edit(compress)
	l.reconcile()
	mixed := l.configMap().Data
	mixed[compiled.DocumentKey], mixed[compiled.SignatureKey] = old[compiled.DocumentKey], old[compiled.SignatureKey]
	l.putBack(mixed)
	stored, held := l.r.open(l.configMap(), name)
	if stored == nil || len(held) != 0 {
		t.Errorf("there is %v beside %v", held, stored)
	}
}

// TestHeldDocumentsFit: a ConfigMap has one size for all documents.
func TestHeldDocumentsFit(t *testing.T) {
	large := func(version int) *document {
		p := tombstone(&observation{name: name})
		p.Deleted, p.SchemaVersion, p.Revision = false, version, 1
		p.Headers = &compiled.Headers{Preset: "API", Set: []compiled.HeaderField{{Name: "X", Value: strings.Repeat("x", compiled.MaxSize/2)}}}
		return &document{policy: p}
	}
	pod := bound(corev1.PodRunning)
	o := &observation{name: name, stored: large(1), pods: []corev1.Pod{*pod}}
	if got := hold(o, large(2).policy, time.Unix(1e9, 0)); len(got) != 0 {
		t.Errorf("%d documents are held beside one that leaves them no room", len(got))
	}
	small := large(2)
	small.policy.Headers = nil
	if got := hold(o, small.policy, time.Unix(1e9, 0)); len(got) != 1 {
		t.Errorf("%d documents are held, want 1", len(got))
	}
}

// TestOneKeyForEachVersion: older sidecars look where they always did.
func TestOneKeyForEachVersion(t *testing.T) {
	cm := render.ConfigMap("shop", "orders", compiled.Signed{Document: []byte(`{"schemaVersion":2}`)}, compiled.Signed{Document: []byte(`{"schemaVersion":1}`)})
	for _, key := range []string{"document.v2.json", "signature.v2", "document.json", "signature"} {
		if _, ok := cm.Data[key]; !ok {
			t.Errorf("there is no %s in %v", key, cm.Data)
		}
	}
}
