package accesslog

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/route"
)

// full is an event with every field of a line.
func full(t *testing.T) event.Event {
	t.Helper()
	routes, err := route.NewDeclared([]string{"/users/*"})
	if err != nil {
		t.Fatal(err)
	}
	refusal := &httperr.Error{Status: 403, Code: "access-denied", Cause: errors.New("why")}
	return event.Event{
		Kind: event.Request, Outcome: event.Refused, Time: time.Unix(1700000000, 0).UTC(), Policy: "shop/orders", RequestID: "r1", TraceID: "t1", UserAgent: "curl/8\x1b",
		ClientAddr: netip.MustParseAddr("192.0.2.1"), Actor: event.Actor{Provider: "idp", Subject: "ada", TokenID: "j1"},
		Served: &event.Served{
			Method: "GET", Path: "/users/42", Protocol: "HTTP/1.1", Port: 8080, Status: 403, Bytes: 7, Elapsed: 1500 * time.Microsecond, Aborted: true,
			Authenticated: true, Err: refusal, Decisions: []event.Decision{{Stage: "authz", Err: refusal}},
			Target: route.Target{Path: "/users/42"}, Routes: routes,
		},
	}
}

// written returns the fields of the line of e.
func written(t *testing.T, c LogConfig, e event.Event) map[string]any {
	t.Helper()
	var out bytes.Buffer
	c.Mode, c.Logger, c.SampleRatio = LogAll, slog.New(slog.NewJSONHandler(&out, nil)), 1
	log, err := NewLog(c)
	if err != nil {
		t.Fatal(err)
	}
	log.Record(e)
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), `":`); n < len(got) {
		t.Errorf("a field is repeated: %s", out.String())
	}
	return got
}

// TestFields: every field of both formats is in a line, unless it is omitted.
func TestFields(t *testing.T) {
	for format, all := range map[Format]names{FormatPostern: posternNames(), FormatECS: ecsNames()} {
		got := written(t, LogConfig{Format: format}, full(t))
		for f, name := range all {
			if name == "" || got[name] == nil {
				t.Errorf("%s: field %d, %q, is missing in %v", format, f, name, got)
			}
		}
		for _, name := range compiled.AccessLogFields() {
			i := slices.Index(slices.Collect(func(yield func(string) bool) {
				for _, n := range posternNames() {
					if !yield(n) {
						return
					}
				}
			}), name)
			if i < 0 {
				t.Fatalf("%s is no field", name)
			}
			less := written(t, LogConfig{Format: format, Omit: []string{name}}, full(t))
			if less[all[i]] != nil || len(less) != len(got)-1 {
				t.Errorf("%s without %s has %v", format, name, less)
			}
		}
	}
}

// TestECS: values have the types of the schema.
func TestECS(t *testing.T) {
	got := written(t, LogConfig{Format: FormatECS}, full(t))
	for name, want := range map[string]any{
		"@timestamp": "2023-11-14T22:13:20Z", "log.level": "info", "message": "request", "ecs.version": ecsVersion, "event.duration": 1.5e6, "event.outcome": "failure",
		"http.request.method": "GET", "http.response.status_code": 403.0, "http.version": "1.1", "client.ip": "192.0.2.1", "url.path": "/users/42", "http.route": "/users/*",
		"user_agent.original": "curl/8\ufffd", "trace.id": "t1", "http.request.id": "r1", "user.id": "ada", "error.code": "access-denied",
	} {
		if got[name] != want {
			t.Errorf("%s is %v; want %v", name, got[name], want)
		}
	}
	e := full(t)
	e.ClientAddr = netip.Addr{}
	if got := written(t, LogConfig{Format: FormatECS}, e); got["client.ip"] != nil {
		t.Errorf("client.ip is %v", got["client.ip"])
	}
}

// TestSample: a part of the successful requests is logged, and all others.
func TestSample(t *testing.T) {
	success := event.Served{Status: 200}
	tests := map[string]struct {
		served event.Served
		random float64
		want   bool
	}{
		"in the sample":         {served: success, random: 0.09, want: true},
		"outside":               {served: success, random: 0.1},
		"a refusal":             {served: event.Served{Status: 403}, random: 0.9, want: true},
		"an aborted response":   {served: event.Served{Status: 200, Aborted: true}, random: 0.9, want: true},
		"a refusal in shadow":   {served: event.Served{Status: 200, Decisions: []event.Decision{{Shadow: true}}}, random: 0.9, want: true},
		"an error of the app":   {served: event.Served{Status: 500}, random: 0.9, want: true},
		"a request of overload": {served: event.Served{Status: 503, Unlogged: true}, random: 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			log, err := NewLog(LogConfig{Mode: LogAll, Logger: slog.New(slog.NewJSONHandler(&out, nil)), SampleRatio: 0.1})
			if err != nil {
				t.Fatal(err)
			}
			log.random = func() float64 { return tt.random }
			log.Record(event.Event{Kind: event.Request, Served: &tt.served})
			if got := out.Len() > 0; got != tt.want {
				t.Errorf("logged %v; want %v", got, tt.want)
			}
		})
	}
}

// TestUserAgentIsBounded: a client cannot make lines of any length.
func TestUserAgentIsBounded(t *testing.T) {
	e := full(t)
	e.UserAgent = strings.Repeat("a", 10000)
	if got, _ := written(t, LogConfig{}, e)["userAgent"].(string); len(got) > maxWord+len("…") {
		t.Errorf("%d bytes", len(got))
	}
}

func TestLogSettingsAreChecked(t *testing.T) {
	for name, c := range map[string]LogConfig{
		"ratio":  {Mode: LogAll, Logger: slog.Default(), SampleRatio: 1.1},
		"format": {Mode: LogAll, Logger: slog.Default(), Format: "XML"},
		"field":  {Mode: LogAll, Logger: slog.Default(), Omit: []string{"password"}},
	} {
		if _, err := NewLog(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
