package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
)

// model is a limit of 1000 tokens an hour, of which a response's JSON says how many it used.
func model() ratelimit.Rule {
	r := login()
	r.Name, r.Limit, r.Period, r.CostFrom = "model", 1000, time.Hour, &ratelimit.CostFrom{JSON: []string{"usage", "total"}}
	return r
}

// byHeader is the same with a header.
func byHeader() ratelimit.Rule {
	r := model()
	r.CostFrom = &ratelimit.CostFrom{Header: "X-Cost"}
	return r
}

// uses returns an app that used so much, as JSON and as a header.
func uses(used any) stage.Func {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("X-Cost", fmt.Sprint(used))
		_, err := fmt.Fprintf(w, `{"usage":{"total":%v}}`, used)
		return err
	}
}

// left returns how much is left, and charges nothing.
func (f *fixture) left(addr string) string {
	f.t.Helper()
	before := f.app
	defer func() { f.app = before }()
	f.app = uses(0)
	limit := f.send(addr).Header().Get("RateLimit")
	_, after, _ := strings.Cut(limit, ";r=")
	left, _, _ := strings.Cut(after, ";")
	return left
}

func (f *fixture) wantLeft(want, addr string) {
	f.t.Helper()
	if got := f.left(addr); got != want {
		f.t.Errorf("%s left; want %s", got, want)
	}
}

func TestCostsOfResponses(t *testing.T) {
	status := func(status int, app stage.Func) stage.Func {
		return func(w http.ResponseWriter, r *http.Request) error {
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("X-Cost", "9")
			w.WriteHeader(status)
			return app(w, r)
		}
	}
	encoded := func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Content-Encoding", "gzip")
		return uses(9)(w, r)
	}
	events := func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "Text/Event-Stream; charset=utf-8")
		_, err := io.WriteString(w, "data: {\"usage\":{\"total\":3}}\n\ndata: {\"usage\":{\"total\":9}}\n\ndata: [DONE]\n\n")
		return err
	}
	trailer := func(name string) stage.Func {
		return func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.WriteString(w, "{}")
			w.Header().Set(name, "9")
			return err
		}
	}
	twice := func(w http.ResponseWriter, _ *http.Request) error {
		w.Header()["X-Cost"] = []string{"9", "10"}
		w.WriteHeader(http.StatusOK)
		return nil
	}
	refuses := func(http.ResponseWriter, *http.Request) error { return &httperr.Error{Status: 502, Code: "x"} }
	tests := map[string]struct {
		rule ratelimit.Rule
		app  stage.Func
		want string
	}{
		"json":                     {model(), uses(9), "991"},
		"json, created":            {model(), status(201, uses(9)), "991"},
		"json, a fraction":         {model(), uses(8.1), "991"},
		"json, nothing used":       {model(), uses(0), "1000"},
		"json, the whole quota":    {model(), uses(1000), "0"},
		"json, negative":           {model(), uses(-9), "999"},
		"json, text":               {model(), uses(`"9"`), "999"},
		"json, an error":           {model(), status(500, uses(9)), "999"},
		"json, a redirect":         {model(), status(302, uses(9)), "999"},
		"json, encoded":            {model(), encoded, "999"},
		"json, events":             {model(), events, "991"},
		"json, nothing written":    {model(), func(http.ResponseWriter, *http.Request) error { return nil }, "999"},
		"json, refused":            {model(), refuses, "999"},
		"header":                   {byHeader(), uses(9), "991"},
		"header, an error":         {byHeader(), status(500, uses(9)), "999"},
		"header, no number":        {byHeader(), uses("many"), "999"},
		"header, two lines":        {byHeader(), twice, "999"},
		"header, none":             {byHeader(), events, "999"},
		"header, a trailer":        {byHeader(), trailer("X-Cost"), "991"},
		"header, a later trailer":  {byHeader(), trailer(http.TrailerPrefix + "X-Cost"), "991"},
		"header, of another field": {byHeader(), trailer("X-Costs"), "999"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, tt.rule)
			f.app = tt.app
			f.send("192.0.2.1")
			want := tt.want
			if want == "0" { // the look is refused, and still shows the field
				f.wantStatus(http.StatusTooManyRequests, f.send("192.0.2.1"))
			}
			f.wantLeft(want, "192.0.2.1")
			f.wantLeft("1000", "192.0.2.2")
		})
	}
}

// TestChargedOnce: the rules of a request are charged together and once, beside those with a fixed cost, and an exempt request is not.
func TestChargedOnce(t *testing.T) {
	exempt, shadow := byHeader(), byHeader()
	exempt.Name, exempt.Exempt.ClientAddresses = "exempt", []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}
	shadow.Name, shadow.Shadow = "shadow", true
	f := newFixture(t, login(), model(), exempt, shadow)
	f.app = uses(9)
	f.send("192.0.2.1")
	if f.store.calls != 2 {
		t.Errorf("the store was asked %d times; want a decision and a charge", f.store.calls)
	}
	got := f.send("192.0.2.1").Header().Get("RateLimit")
	if want := `"login";r=3;t=12, "model";r=991;t=4`; got != want {
		t.Errorf("%s; want %s", got, want)
	}
}

// TestRequestsInProgress: what requests use that were allowed at the same time is paid off later, and no key waits for more than ten
// quotas.
func TestRequestsInProgress(t *testing.T) {
	for name, tt := range map[string]struct {
		requests, used int
		want           string
	}{
		"within the debt": {2, 1000, "3604"}, // one quota, and one token
		"a huge response": {1, 1 << 40, "36004"},
		"many responses":  {100, 1000, "36004"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, model())
			done := f.open(tt.requests, tt.used)
			done()
			got := f.send("192.0.2.1")
			f.wantStatus(http.StatusTooManyRequests, got)
			if wait := got.Header().Get("Retry-After"); wait != tt.want {
				t.Errorf("Retry-After %s; want %s", wait, tt.want)
			}
		})
	}
}

// open sends n requests, each within the one before, so that all are decided on before the first is charged.
func (f *fixture) open(n, used int) (done func()) {
	return func() {
		left := n
		f.app = func(w http.ResponseWriter, r *http.Request) error {
			if left--; left > 0 {
				f.wantStatus(http.StatusOK, f.send("192.0.2.1"))
			}
			return uses(used)(w, r)
		}
		f.send("192.0.2.1")
	}
}

// TestBrokenResponses: a response that breaks off is charged with what it said until then.
func TestBrokenResponses(t *testing.T) {
	for name, tt := range map[string]struct{ body, want string }{
		"after the number":  {`{"usage":{"total":9},`, "991"},
		"before the number": {`{"choices":[],`, "999"},
		"in the number":     {`{"usage":{"total":9`, "999"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, model())
			f.app = func(w http.ResponseWriter, _ *http.Request) error {
				_, _ = io.WriteString(w, tt.body)
				panic(http.ErrAbortHandler)
			}
			func() {
				defer func() {
					if recover() == nil {
						t.Error("the panic does not reach the server")
					}
				}()
				f.send("192.0.2.1")
			}()
			f.wantLeft(tt.want, "192.0.2.1")
		})
	}
}

// TestChargedAfterDisconnect: a client does not avoid the charge by disconnecting.
func TestChargedAfterDisconnect(t *testing.T) {
	f := newFixture(t, model())
	f.store.Store = deaf{f.store.Store}
	ctx, cancel := context.WithCancel(context.Background())
	f.app = func(w http.ResponseWriter, r *http.Request) error {
		err := uses(9)(w, r)
		cancel()
		return err
	}
	f.send("192.0.2.1", func(r *http.Request, _ *request.Info) { *r = *r.WithContext(ctx) })
	f.wantLeft("991", "192.0.2.1")
}

// TestRequestForAWholeBody: the app is asked for a body that can be read. The client's own request is not changed.
func TestRequestForAWholeBody(t *testing.T) {
	for name, tt := range map[string]struct {
		rule     ratelimit.Rule
		encoding string
		ranges   string
	}{
		"json":   {model(), "identity", ""},
		"header": {byHeader(), "gzip", "bytes=0-1"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, tt.rule)
			var seen http.Header
			f.app = func(_ http.ResponseWriter, r *http.Request) error { seen = r.Header; return nil }
			var sent *http.Request
			f.send("192.0.2.1", func(r *http.Request, _ *request.Info) {
				r.Header.Set("Accept-Encoding", "gzip")
				r.Header.Set("Range", "bytes=0-1")
				sent = r
			})
			if seen.Get("Accept-Encoding") != tt.encoding || seen.Get("Range") != tt.ranges || sent.Header.Get("Accept-Encoding") != "gzip" {
				t.Errorf("the app gets %v, and the client's is %v", seen, sent.Header)
			}
		})
	}
}

// TestStoreIsAwayAtTheCharge: the local store counts, and the charge is counted as lost.
func TestStoreIsAwayAtTheCharge(t *testing.T) {
	for _, onFailure := range []ratelimit.OnFailure{ratelimit.Allow, ratelimit.Deny} {
		t.Run(string(onFailure), func(t *testing.T) {
			rule := model()
			rule.OnFailure = onFailure
			f := newFixture(t, rule)
			f.app = func(w http.ResponseWriter, r *http.Request) error {
				f.store.err = errors.New("unavailable")
				return uses(1000)(w, r)
			}
			f.wantStatus(http.StatusOK, f.send("192.0.2.1"))
			f.wantStatus(http.StatusTooManyRequests, f.send("192.0.2.1")) // remembered from the local store
			f.wantStatus(http.StatusOK, f.send("192.0.2.2", func(*http.Request, *request.Info) { f.store.err = nil }))
			if f.local.calls == 0 {
				t.Error("the local store did not count")
			}
			if log := f.log.String(); strings.Count(log, "limit=model cost=1000") != 1 { // one line a minute
				t.Errorf("log %q", log)
			}
			f.wantMetric("postern_rate_limit_charge_failures_total", 2)
			f.wantMetric("postern_rate_limit_charges_total", 2)
		})
	}
}

// wantMetric compares the sum of a metric's series.
func (f *fixture) wantMetric(name string, want float64) {
	f.t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	var sum float64
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	if sum != want {
		f.t.Errorf("%s is %v; want %v", name, sum, want)
	}
}

func TestCostsThatAreRefused(t *testing.T) {
	for name, from := range map[string]ratelimit.CostFrom{
		"no place": {}, "two places": {JSON: []string{"a"}, Header: "X-Cost"}, "a path that is none": {JSON: []string{"$"}}, "a header that is none": {Header: "X Cost"},
	} {
		t.Run(name, func(t *testing.T) {
			rule := model()
			rule.CostFrom = &from
			if _, err := ratelimit.New(ratelimit.Config{Rules: []ratelimit.Rule{rule}, Store: &countedStore{}, Local: &countedStore{}}); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// TestConditionsOfAChange: the conditions of a safe request are removed, and those that guard a change are not.
func TestConditionsOfAChange(t *testing.T) {
	for method, want := range map[string]int{http.MethodGet: 0, http.MethodHead: 0, http.MethodPut: 4, http.MethodPost: 4} {
		f := newFixture(t, model())
		var seen http.Header
		f.app = func(_ http.ResponseWriter, r *http.Request) error { seen = r.Header; return nil }
		names := []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"}
		f.send("192.0.2.1", func(r *http.Request, _ *request.Info) {
			r.Method = method
			for _, name := range names {
				r.Header.Set(name, "x")
			}
		})
		got := 0
		for _, name := range names {
			got += len(seen[name])
		}
		if got != want {
			t.Errorf("%s: the app gets %v", method, seen)
		}
	}
}
