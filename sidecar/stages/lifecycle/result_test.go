package lifecycle

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// observe sends a request to PUT /users/42 through the stage to an app.
func observe(t *testing.T, info request.Info, path string, app stage.Func) *sink {
	t.Helper()
	s, err := New(Config{Rules: users()})
	if err != nil {
		t.Fatal(err)
	}
	out := &sink{}
	info.Path, info.Events = path, event.NewStream("shop/orders", out)
	_ = s(app).ServeHTTP(httptest.NewRecorder(), request.With(httptest.NewRequest("PUT", path, nil), &info))
	return out
}

// TestNoResponse: whether there is an event depends on whether the app may have got the request. A client cannot hide what it does by closing
// its connection, or by a wrong end of its body.
func TestNoResponse(t *testing.T) {
	const unknown = "CREATE user/42 failed " + ResultUnknown
	for code, want := range map[httperr.Code]string{
		"app-unreachable": "", "app-ca-unavailable": "", "connect-unsupported": "", "client-closed-request": unknown, "app-timeout": unknown, "app-bad-response": unknown,
		"bad-body": unknown, "body-timeout": unknown, "body-too-large": unknown,
	} {
		got := observe(t, request.Info{}, "/users/42", func(http.ResponseWriter, *http.Request) error {
			return fmt.Errorf("proxying: %w", &httperr.Error{Status: 502, Code: code})
		}).told()
		if got != want {
			t.Errorf("%s: %q; want %q", code, got, want)
		}
	}
}

// TestGRPC: a call that has failed has the HTTP status 200.
func TestGRPC(t *testing.T) {
	tests := map[string]struct{ media, header, trailer, want string }{
		"done":                {"application/grpc+proto", "", "0", "UPDATE user/42 success"},
		"done, in the head":   {"application/grpc", "0", "", "UPDATE user/42 success"},
		"failed":              {"application/grpc", "", "7", ""},
		"failed, in the head": {"Application/gRPC", "7", "", ""},
		"without a status":    {"application/grpc", "", "", "UPDATE user/42 failed " + ResultUnknown},
		"gRPC-Web":            {"application/grpc-web", "", "", "UPDATE user/42 failed " + ResultUnknown},
	}
	for name, tt := range tests {
		for _, prefix := range []string{"", http.TrailerPrefix} {
			got := observe(t, request.Info{}, "/users/42", func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("Content-Type", tt.media)
				if tt.header != "" {
					w.Header().Set("Grpc-Status", tt.header)
				}
				_, _ = io.WriteString(w, "\x00\x00\x00\x00\x00")
				if tt.trailer != "" {
					w.Header().Set(prefix+"Grpc-Status", tt.trailer)
				}
				return nil
			}).told()
			if got != tt.want {
				t.Errorf("%s: %q; want %q", name, got, tt.want)
			}
		}
	}
}

func TestWhoActs(t *testing.T) {
	actor := event.Actor{Provider: "corp", Issuer: "https://id.example.com", Subject: "ada", Session: "s", TokenID: "t"}
	who := func(claims map[string]any) *identity.Identity {
		return &identity.Identity{Subject: "ada", Claims: claims}
	}
	tests := map[string]struct {
		identity *identity.Identity
		actor    event.Actor
		want     event.Actor
		wantBy   string
	}{
		"nobody":               {},
		"a user":               {identity: who(nil), actor: actor, want: actor},
		"a revoked token":      {actor: actor, want: event.Actor{Provider: "corp", TokenID: "t"}},
		"a delegate":           {identity: who(map[string]any{"act": map[string]any{"sub": "support"}}), actor: actor, want: actor, wantBy: "support"},
		"its own delegate":     {identity: who(map[string]any{"act": map[string]any{"sub": "ada"}}), actor: actor, want: actor},
		"a claim that is none": {identity: who(map[string]any{"act": "support"}), actor: actor, want: actor},
	}
	for name, tt := range tests {
		out := observe(t, request.Info{Identity: tt.identity, Actor: tt.actor}, "/users/42", func(http.ResponseWriter, *http.Request) error { return nil })
		if len(out.events) != 1 || out.events[0].Actor != tt.want || out.events[0].PerformedBy != tt.wantBy {
			t.Errorf("%s: %+v; want %+v by %q", name, out.events, tt.want, tt.wantBy)
		}
	}
}

// TestLongIDs: the beginning of an id could be the id of another resource.
func TestLongIDs(t *testing.T) {
	for n, want := range map[int]int{event.MaxText: event.MaxText, event.MaxText + 1: 0} {
		out := observe(t, request.Info{}, "/users/"+strings.Repeat("x", n), func(http.ResponseWriter, *http.Request) error { return nil })
		if len(out.events) != 1 || len(out.events[0].Resource.ID) != want {
			t.Errorf("an id of %d bytes: %+v", n, out.events)
		}
	}
}

// TestEmptySegments: slashes that an app ignores do not make another resource of it.
func TestEmptySegments(t *testing.T) {
	for _, path := range []string{"/users/42", "//users/42", "/users//42", "///users///42//", "/users/42/"} {
		read, err := (&route.Reader{}).Read(path)
		if err != nil {
			t.Fatal(err)
		}
		out := observe(t, request.Info{Readings: read.Target}, path, func(http.ResponseWriter, *http.Request) error { return nil })
		if got := out.told(); got != "UPDATE user/42 success" {
			t.Errorf("%s: %q", path, got)
		}
	}
}
