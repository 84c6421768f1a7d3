package main

import (
	"bytes"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
)

// small are the minimum settings with which the bench works. The results are ignored: a test asserts no times.
var small = settings{
	fleet: 2, rounds: 4, pollRounds: 1, pause: time.Millisecond, requests: 40, connections: 4, logins: 8, events: 1000, repetitions: 1,
	scales: []int{3, 12}, fleetSizes: []int{3}, pods: 8, creation: 200 * time.Millisecond,
}

func TestBench(t *testing.T) {
	var out, progress bytes.Buffer
	b, err := newBench(t.Context(), small, &out, &progress)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	timings, err := b.timings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range timings {
		if len(x.fromCall) == 0 || x.own != 0 || x.again != 0 {
			t.Errorf("%s: %d refusals; 200 at the member that revoked, after its response: %d; 200 after a refusal: %d",
				x.name, len(x.fromCall), x.own, x.again)
		}
	}
	if err := b.printRevocation(timings); err != nil {
		t.Fatal(err)
	}
	if err := b.cost(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.audit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"audit trail: chained", "at 5000 events/s", "an INSERT for each event", "sidecar: POST /auth/logout", "peer that polls", "/asking peer", "first request of each token", "with an expression", "API key", "login with loginProtection", "refresh"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
}

// TestOperatorRows checks that the operator's rows are measured. It needs the binaries of an API server.
func TestOperatorRows(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	ctrl.SetLogger(logr.Discard())
	var out bytes.Buffer
	b, err := newBench(t.Context(), small, &out, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	if err := b.operator(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{
		"3 policies", "12 policies", "until its document is written", "pods without the webhook", "the webhook alone",
		"as the API server measures it", "8 pods beside 12 policies", "3 sidecars",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, &out)
		}
	}
}

func TestHistogram(t *testing.T) {
	after := histogram{count: 110, sum: 12, within: map[float64]float64{0.1: 60, 0.5: 109, 2.5: 110}}
	before := histogram{count: 10, sum: 2, within: map[float64]float64{0.1: 10, 0.5: 10, 2.5: 10}}
	h := after.minus(before)
	if h.count != 100 || h.sum != 10 {
		t.Errorf("the difference is %+v", h)
	}
	for q, want := range map[float64]time.Duration{0.5: 100 * time.Millisecond, 0.99: 500 * time.Millisecond, 1: 2500 * time.Millisecond} {
		if got := h.atMost(q); got != want {
			t.Errorf("a share of %v is within %s, want %s", q, got, want)
		}
	}
}

func TestView(t *testing.T) {
	v := &view{policies: map[types.NamespacedName]policyState{}, changed: make(chan struct{})}
	p := &v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders", Generation: 1}}
	ready := func(generation int64, matched int32) {
		p = p.DeepCopy()
		p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, ObservedGeneration: generation}}
		p.Status.Pods = &v1alpha1.PodCounts{Matched: matched, Injected: matched}
	}
	for _, step := range []struct {
		name  string
		event func()
		want  policyState
	}{
		{"created", func() {}, policyState{}},
		{"ready", func() { ready(1, 2) }, policyState{ready: 1, matched: 2, injected: 2}},
		{"changed, and not seen yet", func() { p = p.DeepCopy(); p.Generation = 2 }, policyState{matched: 2, injected: 2}},
		{"ready again", func() { ready(2, 3) }, policyState{ready: 1, matched: 3, injected: 3}},
	} {
		step.event()
		v.storePolicy(p)
		if v.total != step.want {
			t.Errorf("%s: the total is %+v, want %+v", step.name, v.total, step.want)
		}
	}
	if name := client.ObjectKeyFromObject(p); !v.is(name, 2, isReady) || v.is(name, 3, isReady) {
		t.Errorf("the state is %+v", v.policies[name])
	}
}

func TestParse(t *testing.T) {
	if s, err := parse(nil); err != nil || s.fleet != 6 {
		t.Errorf("no arguments: %+v, %v", s, err)
	}
	if s, err := parse([]string{"-quick", "-policies", "10,200"}); err != nil || !slices.Equal(s.scales, []int{10, 200}) {
		t.Errorf("numbers of policies: %v, %v", s.scales, err)
	}
	for _, args := range [][]string{{"-fleet", "0"}, {"-rounds", "-1"}, {"-events", "0"}, {"-repetitions", "0"}, {"-policies", "0"}, {"-policies", "10,"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%v are accepted", args)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := []int{50, 10, 40, 20, 30}
	for name, tt := range map[string]struct {
		values []int
		q      float64
		want   int
	}{
		"none":                     {q: 0.5},
		"one":                      {values: []int{7}, q: 0.99, want: 7},
		"median":                   {values: values, q: 0.5, want: 30},
		"median of an even number": {values: values[:4], q: 0.5, want: 20},
		"highest":                  {values: values, q: 1, want: 50},
		"lowest":                   {values: values, q: 0, want: 10},
		"p95":                      {values: values, q: 0.95, want: 50},
	} {
		t.Run(name, func(t *testing.T) {
			if got := quantile(tt.values, tt.q); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	epoch := time.Unix(0, 0)
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	const ok, no = http.StatusOK, http.StatusUnauthorized
	for name, tt := range map[string]struct {
		samples []sample
		want    seen
	}{
		"no samples":          {},
		"never refused":       {samples: []sample{{at(0), at(1), ok}}},
		"before the response": {samples: []sample{{at(0), at(1), ok}, {at(12), at(13), no}}, want: seen{refused: true, fromCall: 3 * time.Millisecond, fromResponse: -7 * time.Millisecond}},
		"sent before the response": {
			samples: []sample{{at(19), at(21), ok}, {at(22), at(25), no}},
			want:    seen{refused: true, fromCall: 15 * time.Millisecond, fromResponse: 5 * time.Millisecond, late: 1},
		},
		"sent after the response": {
			samples: []sample{{at(21), at(22), ok}, {at(23), at(24), no}},
			want:    seen{refused: true, fromCall: 14 * time.Millisecond, fromResponse: 4 * time.Millisecond, late: 1, lateSent: 1},
		},
		"accepted again": {
			samples: []sample{{at(11), at(12), no}, {at(13), at(14), ok}, {at(15), at(16), no}},
			want:    seen{refused: true, fromCall: 2 * time.Millisecond, fromResponse: -8 * time.Millisecond, again: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := judge(tt.samples, at(10), at(20)); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestExpressionDecides: the sidecar whose cost with an expression is measured evaluates it.
func TestExpressionDecides(t *testing.T) {
	b, err := newBench(t.Context(), small, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	for policy, want := range map[string]int{
		withExpression(b.redis): http.StatusOK,
		strings.Replace(withExpression(b.redis), "claims.iss ==", "claims.iss !=", 1): http.StatusForbidden,
	} {
		m, err := b.sidecar(t.Context(), "expression", policy)
		if err != nil {
			t.Fatal(err)
		}
		client := newClient(1)
		t.Cleanup(client.CloseIdleConnections)
		user, err := login(t.Context(), client, m.url, "ada")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ask(t.Context(), client, m.url, user); got != want || err != nil {
			t.Errorf("status %d, %v; want %d", got, err, want)
		}
	}
}
