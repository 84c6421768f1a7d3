package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// keys is a Lister of fixed keys.
type keys struct {
	list  atomic.Pointer[[]Key]
	err   error
	calls atomic.Int64
	// during is called while a list is in progress.
	during func()
}

func (k *keys) set(policies ...*v1alpha1.SecurityPolicy) {
	var list []Key
	for _, p := range policies {
		list = append(list, Key{p.Name, p.UID, p.Generation})
	}
	k.list.Store(&list)
}

func (k *keys) Keys(context.Context, string) ([]Key, error) {
	k.calls.Add(1)
	list := *k.list.Load()
	if k.during != nil {
		k.during()
	}
	return list, k.err
}

// policy returns a policy of shop that selects app=NAME and is age hours old.
func policy(name string, age int) *v1alpha1.SecurityPolicy {
	return &v1alpha1.SecurityPolicy{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, UID: types.UID("uid-" + name), Generation: 1,
			CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-time.Duration(age) * time.Hour)),
		},
		Spec: v1alpha1.SecurityPolicySpec{Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}},
	}
}

func newIndex(t *testing.T, lister Lister, live ...client.Object) *Index {
	t.Helper()
	s := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	x, err := New(Config{
		Lister: lister, Live: fake.NewClientBuilder().WithScheme(s).WithObjects(live...).Build(), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func selected(t *testing.T, x *Index, app string) string {
	t.Helper()
	p, err := x.Select(t.Context(), "shop", map[string]string{"app": app})
	if err != nil {
		t.Fatal(err)
	}
	if p == nil {
		return ""
	}
	return p.Name
}

func TestSelect(t *testing.T) {
	all := policy("all", 0)
	all.Spec.Selector = metav1.LabelSelector{}
	broken := policy("broken", 0)
	broken.Spec.Selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "x", Operator: "Like"}}
	wide := policy("wide", 0)
	for i := range 400 {
		wide.Spec.Selector.MatchLabels[fmt.Sprintf("l%d", i)] = "x"
	}
	going := policy("orders", 9)
	going.DeletionTimestamp, going.Finalizers = ptr.To(metav1.Now()), []string{"x/y"}
	large := policy("orders", 1)
	large.Spec.VaultRole = strings.Repeat("x", 1<<20)
	for name, tc := range map[string]struct {
		policies []*v1alpha1.SecurityPolicy
		want     string
	}{
		"none":                              {nil, ""},
		"one":                               {[]*v1alpha1.SecurityPolicy{policy("orders", 1)}, "orders"},
		"another":                           {[]*v1alpha1.SecurityPolicy{policy("other", 1)}, ""},
		"the oldest":                        {[]*v1alpha1.SecurityPolicy{all, policy("orders", 1)}, "orders"},
		"one that is being deleted":         {[]*v1alpha1.SecurityPolicy{going, all}, "all"},
		"an invalid selector selects all":   {[]*v1alpha1.SecurityPolicy{broken, policy("other", 1)}, "broken"},
		"too long a selector selects all":   {[]*v1alpha1.SecurityPolicy{wide}, "wide"},
		"a large spec is known by selector": {[]*v1alpha1.SecurityPolicy{large}, "orders"},
	} {
		t.Run(name, func(t *testing.T) {
			lister := &keys{}
			lister.set(tc.policies...)
			x, trimmer := newIndex(t, lister), NewTrimmer()
			for _, p := range tc.policies {
				trimmed, err := trimmer.Transform(p.DeepCopy())
				if err != nil {
					t.Fatal(err)
				}
				x.OnAdd(trimmed, true)
			}
			if got := selected(t, x, "orders"); got != tc.want {
				t.Errorf("selected %q, want %q", got, tc.want)
			}
			if got := x.Known("shop", map[string]string{"app": "orders"}); got == nil && tc.want != "" || got != nil && got.Name != tc.want {
				t.Errorf("known is %v, want %q", got, tc.want)
			}
			if n := testutil.ToFloat64(x.reads.WithLabelValues(readPolicy)); n != 0 {
				t.Errorf("%v policies were read", n)
			}
		})
	}
}

// TestFreshness checks that a policy which the API server has counts, whether or not the informer has brought it.
func TestFreshness(t *testing.T) {
	changed := policy("orders", 1)
	changed.Generation, changed.Spec.Selector.MatchLabels = 2, map[string]string{"app": "shop"}
	again := policy("orders", 0)
	again.UID = "another"
	for name, tc := range map[string]struct {
		// known is what the informer brought before, late what it brings while the look waits. listed is the API server's.
		known, late, listed []*v1alpha1.SecurityPolicy
		app, want           string
		wantReads           float64
	}{
		"a new one comes late":         {nil, []*v1alpha1.SecurityPolicy{policy("orders", 1)}, []*v1alpha1.SecurityPolicy{policy("orders", 1)}, "orders", "orders", 0},
		"a new one does not come":      {nil, nil, []*v1alpha1.SecurityPolicy{policy("orders", 1)}, "orders", "orders", 1},
		"a new selector does not come": {[]*v1alpha1.SecurityPolicy{policy("orders", 1)}, nil, []*v1alpha1.SecurityPolicy{changed}, "shop", "orders", 1},
		"created again, does not come": {[]*v1alpha1.SecurityPolicy{policy("orders", 1)}, nil, []*v1alpha1.SecurityPolicy{again}, "orders", "orders", 1},
		"a deleted one is still known": {[]*v1alpha1.SecurityPolicy{policy("orders", 1)}, nil, nil, "orders", "", 0},
		"the informer is ahead":        {[]*v1alpha1.SecurityPolicy{changed}, nil, []*v1alpha1.SecurityPolicy{policy("orders", 1)}, "shop", "orders", 0},
	} {
		t.Run(name, func(t *testing.T) {
			lister := &keys{}
			lister.set(tc.listed...)
			var live []client.Object
			for _, p := range tc.listed {
				live = append(live, p.DeepCopy())
			}
			x := newIndex(t, lister, live...)
			for _, p := range tc.known {
				x.OnAdd(p, true)
			}
			lister.during = func() {
				go func() {
					for _, p := range tc.late {
						x.OnAdd(p, false)
					}
				}()
			}
			if got := selected(t, x, tc.app); got != tc.want {
				t.Errorf("selected %q, want %q", got, tc.want)
			}
			if n := testutil.ToFloat64(x.reads.WithLabelValues(readPolicy)); n != tc.wantReads {
				t.Errorf("%v policies were read, want %v", n, tc.wantReads)
			}
		})
	}
}

func TestFailuresAreNoAnswers(t *testing.T) {
	var many []*v1alpha1.SecurityPolicy
	for i := range maxMissing + 1 {
		many = append(many, policy(fmt.Sprintf("p%d", i), 1))
	}
	noConnection := errors.New("no connection")
	for name, tc := range map[string]struct {
		lister *keys
		want   error
	}{
		"the list fails":       {&keys{err: noConnection}, noConnection},
		"too many policies":    {&keys{err: ErrTooMany}, ErrTooMany},
		"the informer is dead": {&keys{}, errBehind},
	} {
		t.Run(name, func(t *testing.T) {
			tc.lister.set(many...)
			if got, err := newIndex(t, tc.lister).Select(t.Context(), "shop", nil); !errors.Is(err, tc.want) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// TestReadsPerReview checks that many concurrent reviews share reads.
func TestReadsPerReview(t *testing.T) {
	const reviews = 200
	lister := &keys{}
	lister.set(policy("orders", 1))
	x := newIndex(t, lister)
	x.OnAdd(policy("orders", 1), true)
	arrived, proceed := make(chan struct{}, reviews), make(chan struct{})
	lister.during = func() { arrived <- struct{}{}; <-proceed }
	var wg sync.WaitGroup
	review := func() {
		wg.Go(func() {
			if _, err := x.Select(context.Background(), "shop", map[string]string{"app": "orders"}); err != nil {
				t.Error(err)
			}
		})
	}
	review()
	<-arrived
	for range reviews - 1 {
		review()
	}
	close(proceed)
	wg.Wait()
	// The first needs one list. The others arrive during it: most share the second, and the last may come after its start.
	if n := lister.calls.Load(); n > 20 {
		t.Errorf("%d reviews cost %d lists", reviews, n)
	}
}

// TestBytesHeld checks what a namespace of hostile policies leaves in the cache.
func TestBytesHeld(t *testing.T) {
	const mostPerPolicy = keptSpec + compile.MaxSelector + 1<<10
	for name, tc := range map[string]struct {
		policies int
		change   func(*v1alpha1.SecurityPolicy)
		wantMost int
	}{
		"17 of 1 MiB":       {17, func(p *v1alpha1.SecurityPolicy) { p.Spec.VaultRole = strings.Repeat("x", 1<<20) }, 17 * (1 << 10)},
		"large annotations": {17, func(p *v1alpha1.SecurityPolicy) { p.Annotations = map[string]string{"x": strings.Repeat("x", 256<<10)} }, 17 * (1 << 10)},
		"a forged mark": {17, func(p *v1alpha1.SecurityPolicy) {
			p.Annotations = map[string]string{"postern.dev/cache-spec-bytes": "1"}
			p.Spec.VaultRole = strings.Repeat("x", 1<<20)
		}, 17 * (1 << 10)},
		"5000 just small enough": {5000, func(p *v1alpha1.SecurityPolicy) { p.Spec.VaultRole = strings.Repeat("x", keptSpec-200) },
			compile.MaxPolicies*mostPerPolicy + 5000*(1<<10)},
	} {
		t.Run(name, func(t *testing.T) {
			trimmer, held := NewTrimmer(), 0
			for i := range tc.policies {
				p := policy(fmt.Sprintf("p%d", i), i)
				tc.change(p)
				trimmed, err := trimmer.Transform(p)
				if err != nil {
					t.Fatal(err)
				}
				b, err := json.Marshal(trimmed)
				if err != nil {
					t.Fatal(err)
				}
				held += len(b)
			}
			if held > tc.wantMost {
				t.Errorf("%d bytes are held, want at most %d", held, tc.wantMost)
			}
		})
	}
}

func TestTrimmerForgetsDeletedPolicies(t *testing.T) {
	trimmer := NewTrimmer()
	for i := range 3 * compile.MaxPolicies {
		p, err := trimmer.Transform(policy(fmt.Sprintf("p%d", i), i))
		if err != nil {
			t.Fatal(err)
		}
		if Bare(p.(*v1alpha1.SecurityPolicy)) {
			t.Fatalf("policy %d is not kept, and the others are deleted", i)
		}
		trimmer.OnDelete(p)
	}
	if len(trimmer.kept) != 0 || len(trimmer.of) != 0 {
		t.Errorf("left: %v, %v", trimmer.kept, trimmer.of)
	}
}

// TestBarePoliciesAreRead checks that a policy whose selector the cache dropped still selects its pods.
func TestBarePoliciesAreRead(t *testing.T) {
	orders := policy("orders", 1)
	lister := &keys{}
	lister.set(orders)
	x := newIndex(t, lister, orders.DeepCopy())
	bare := orders.DeepCopy()
	bare.Annotations, bare.Spec = map[string]string{sizeAnnotation: "100", bareAnnotation: ""}, v1alpha1.SecurityPolicySpec{}
	x.OnAdd(bare, true)
	if got := selected(t, x, "orders"); got != "orders" {
		t.Errorf("selected %q", got)
	}
	if got := selected(t, x, "other"); got != "" {
		t.Errorf("a pod of nobody is selected by %q", got)
	}
}

func TestComplete(t *testing.T) {
	medium, huge := policy("medium", 1), policy("huge", 1)
	medium.Spec.VaultRole, huge.Spec.VaultRole = strings.Repeat("x", keptSpec), strings.Repeat("x", compile.MaxSpec)
	x := newIndex(t, &keys{}, medium.DeepCopy(), huge.DeepCopy())
	for name, tc := range map[string]struct {
		policy   *v1alpha1.SecurityPolicy
		wantRead bool
	}{
		"small":  {policy("small", 1), false},
		"medium": {medium, true},
		"huge":   {huge, false},
	} {
		t.Run(name, func(t *testing.T) {
			want := compile.SpecSize(&tc.policy.Spec)
			cached := tc.policy.DeepCopy()
			trim(cached, keptSpec)
			got, size, err := Complete(t.Context(), x.cfg.Live, cached)
			if err != nil || size != want {
				t.Fatalf("size is %d, want %d: %v", size, want, err)
			}
			if read := got.Spec.VaultRole != cached.Spec.VaultRole; read != tc.wantRead {
				t.Errorf("the spec was read: %t", read)
			}
		})
	}
}

// TestBarePoliciesRecover: a namespace that had too many policies is judged again once some were deleted, although the cache has
// dropped more of the others than one look may read.
func TestBarePoliciesRecover(t *testing.T) {
	const n = 3 * maxMissing
	lister := &keys{}
	var all []*v1alpha1.SecurityPolicy
	var live []client.Object
	for i := range n {
		p := policy(fmt.Sprintf("app-%d", i), i)
		all, live = append(all, p), append(live, p.DeepCopy())
	}
	lister.set(all...)
	x := newIndex(t, lister, live...)
	for _, p := range all {
		bare := p.DeepCopy()
		bare.Annotations, bare.Spec = map[string]string{sizeAnnotation: "100", bareAnnotation: ""}, v1alpha1.SecurityPolicySpec{}
		x.OnAdd(bare, true)
	}
	for range n/maxMissing - 1 {
		if p, err := x.Select(t.Context(), "shop", map[string]string{"app": "app-7"}); err == nil && (p == nil || p.Name != "app-7") {
			t.Fatalf("selected %v", p)
		}
	}
	if got := selected(t, x, "app-7"); got != "app-7" {
		t.Errorf("selected %q", got)
	}
}
