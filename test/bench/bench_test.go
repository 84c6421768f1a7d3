package main

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// small are the minimum settings with which the bench works. The results are ignored: a test asserts no times.
var small = settings{
	fleet: 2, rounds: 4, pollRounds: 1, pause: time.Millisecond, requests: 40, connections: 4, logins: 8, events: 1000, repetitions: 1,
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

func TestParse(t *testing.T) {
	if s, err := parse(nil); err != nil || s.fleet != 6 {
		t.Errorf("no arguments: %+v, %v", s, err)
	}
	for _, args := range [][]string{{"-fleet", "0"}, {"-rounds", "-1"}, {"-events", "0"}, {"-repetitions", "0"}} {
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
