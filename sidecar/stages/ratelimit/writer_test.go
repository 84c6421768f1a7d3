package ratelimit_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

func TestOurFieldsReplaceTheApps(t *testing.T) {
	tests := map[string]stage.Func{
		"by WriteHeader": func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Add("RateLimit", "limit=1, remaining=9")
			w.Header().Set("Link", "</x>")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
			return nil
		},
		"by Write": func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("RateLimit-Policy", "mine")
			_, err := io.WriteString(w, "x")
			return err
		},
		"by Flush": func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Add("RateLimit", "mine")
			return http.NewResponseController(w).Flush()
		},
	}
	for name, app := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, login())
			f.app = app
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				info := &request.Info{ClientAddr: netip.MustParseAddr("192.0.2.1"), Path: "/login"}
				if err := f.handler.ServeHTTP(w, request.With(r, info)); err != nil {
					t.Error(err)
				}
			}))
			defer server.Close()
			resp, err := server.Client().Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			h := resp.Header
			if got := h.Values("RateLimit"); len(got) != 1 || got[0] != `"login";r=4;t=12` {
				t.Errorf("RateLimit: %q", got)
			}
			if got := h.Values("RateLimit-Policy"); len(got) != 1 || got[0] != `"login";q=5;w=60` {
				t.Errorf("RateLimit-Policy: %q", got)
			}
		})
	}
}
