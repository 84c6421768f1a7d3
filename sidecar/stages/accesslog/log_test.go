package accesslog

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

func TestSafe(t *testing.T) {
	tests := map[string]struct {
		in    string
		limit int
		want  string
	}{
		"plain":              {in: "/a b", limit: 9, want: "/a b"},
		"non-ASCII letters":  {in: "/é/日本", limit: 99, want: "/é/日本"},
		"line break":         {in: "a\nb\rc\x00", limit: 9, want: "a\ufffdb\ufffdc\ufffd"},
		"terminal escape":    {in: "\x1b[31m", limit: 9, want: "\ufffd[31m"},
		"C1 escape":          {in: "\u009b31m", limit: 9, want: "\ufffd31m"},
		"right to left":      {in: "a\u202eb", limit: 9, want: "a\ufffdb"},
		"line separator":     {in: "a\u2028b", limit: 9, want: "a\ufffdb"},
		"invalid UTF-8":      {in: "a\xffb", limit: 9, want: "a\ufffdb"},
		"too long":           {in: "abcdef", limit: 3, want: "abc…"},
		"cut in a character": {in: "aé", limit: 2, want: "a\ufffd…"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := safe(tt.in, tt.limit); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzSafe(f *testing.F) {
	f.Add("/a\x1b[2J", 5)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(0, min(limit, maxPath))
		got := safe(s, limit)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(c rune) bool { return !unicode.IsPrint(c) && c != utf8.RuneError }) {
			t.Errorf("safe(%q) = %q", s, got)
		}
		if len(got) > 3*limit+len("…") {
			t.Errorf("safe(%q, %d) has %d bytes", s, limit, len(got))
		}
	})
}

// TestDecisionFormats: the text log has the decisions as people read them, the JSON log as objects.
func TestDecisionFormats(t *testing.T) {
	tests := map[string]struct {
		newHandler func(w io.Writer) slog.Handler
		want       string
	}{
		"text": {
			newHandler: func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
			want:       `decisions="authz: forbidden, authz/refunds: access-denied by clientAddresses, ratelimit/login: rate-limited (shadow)"`,
		},
		"JSON": {
			newHandler: func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
			want: `"decisions":[{"stage":"authz","code":"forbidden","shadow":false},` +
				`{"stage":"authz","rule":"refunds","condition":"clientAddresses","code":"access-denied","shadow":false},` +
				`{"stage":"ratelimit","rule":"login","code":"rate-limited","shadow":true}]`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			log, err := NewLog(LogConfig{Mode: LogAll, Logger: slog.New(tt.newHandler(&out)), SampleRatio: 1})
			if err != nil {
				t.Fatal(err)
			}
			log.Record(event.Event{Kind: event.Request, Served: &event.Served{Decisions: []event.Decision{
				{Stage: "authz", Err: &httperr.Error{Status: 403, Code: "forbidden"}},
				{Stage: "authz", Rule: "refunds", Condition: "clientAddresses", Err: &httperr.Error{Status: 403, Code: "access-denied"}},
				{Stage: "ratelimit", Rule: "login", Shadow: true, Err: &httperr.Error{Status: 429, Code: "rate-limited"}},
			}}})
			if !strings.Contains(out.String(), tt.want) {
				t.Errorf("line %q, want %s in it", out.String(), tt.want)
			}
		})
	}
}

// TestClientAddr: the event has the connection's address if no stage has determined the client's.
func TestClientAddr(t *testing.T) {
	tests := map[string]struct {
		known  netip.Addr
		remote string
		want   string
	}{
		"set by a stage":      {known: netip.MustParseAddr("2001:db8::1"), remote: "192.0.2.1:5", want: "2001:db8::1"},
		"only the connection": {remote: "[::ffff:192.0.2.1]:5", want: "192.0.2.1"},
		"no address":          {remote: "@", want: ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := observed(t, LogAll, stage.Func(func(_ http.ResponseWriter, r *http.Request) error {
				request.From(r).ClientAddr = tt.known
				return nil
			}))
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = tt.remote
			f.ServeHTTP(httptest.NewRecorder(), r)
			if got := f.logs.lines(t, "request")[0]["clientAddr"]; got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
