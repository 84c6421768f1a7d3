package authz

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// TestNoStore: which responses are kept out of caches.
func TestNoStore(t *testing.T) {
	public, err := route.NewMatcher([]route.Match{{Paths: []string{"/public"}}})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		off, shadow bool
		path        string
		status      int
		// fields are pairs of the app's names and values.
		fields []string
		want   string
	}{
		"the app says nothing":        {path: "/a", status: 200, want: "no-store"},
		"a redirect":                  {path: "/a", status: 303, want: "no-store"},
		"an error":                    {path: "/a", status: 404, want: "no-store"},
		"only a validator":            {path: "/a", status: 200, fields: []string{"ETag", `"x"`}, want: "no-store"},
		"implicit status":             {path: "/a", want: "no-store"},
		"the app's own":               {path: "/a", status: 200, fields: []string{"Cache-Control", "private, max-age=60"}, want: "private, max-age=60"},
		"the app's Expires":           {path: "/a", status: 200, fields: []string{"Expires", "0"}},
		"the app's Pragma":            {path: "/a", status: 200, fields: []string{"Pragma", "no-cache"}},
		"not modified":                {path: "/a", status: 304},
		"an anonymous route":          {path: "/public", status: 200},
		"an address's route":          {path: "/inside", status: 200, want: "no-store"},
		"switched off":                {off: true, path: "/a", status: 200},
		"a policy in shadow mode":     {shadow: true, path: "/a", status: 200},
		"anonymous and cached by app": {path: "/public", status: 200, fields: []string{"Cache-Control", "public"}, want: "public"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := New(Config{NoStore: !tt.off, Default: Authenticated, Rules: []Rule{
				{Name: "public", Match: public, Require: Anonymous},
				{Name: "inside", Match: matcher(t, route.Match{Paths: []string{"/inside"}}), Require: Anonymous, Conditions: Conditions{ClientAddresses: []string{"192.0.2.0/24"}}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			app := stage.Func(func(w http.ResponseWriter, _ *http.Request) error {
				for i := 0; i < len(tt.fields); i += 2 {
					w.Header().Set(tt.fields[i], tt.fields[i+1])
				}
				if tt.status != 0 {
					w.WriteHeader(tt.status)
				}
				return nil
			})
			info := &request.Info{Path: tt.path, ClientAddr: netip.MustParseAddr("192.0.2.1"), Shadow: tt.shadow, Identity: &identity.Identity{Subject: "ada"}}
			if err := s(app).ServeHTTP(w, request.With(httptest.NewRequest("GET", tt.path, nil), info)); err != nil {
				t.Fatal(err)
			}
			if got := w.Header().Get("Cache-Control"); got != tt.want {
				t.Errorf("Cache-Control %q; want %q", got, tt.want)
			}
		})
	}
}
