package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// TestRefusedUploadsGetTheirResponse: a client that is still sending its body gets the response of the refusal, and not a reset, also if it
// has asked to close the connection.
func TestRefusedUploadsGetTheirResponse(t *testing.T) {
	t.Parallel()
	r := startStandalone(t, makeDocument(func(p *compiled.Policy) { p.Authorization.Default = "Deny" }), http.NotFoundHandler())
	for name, closing := range map[string]bool{"keep-alive": false, "close": true} {
		t.Run(name, func(t *testing.T) {
			transport := &http.Transport{DisableKeepAlives: closing}
			t.Cleanup(transport.CloseIdleConnections)
			for i := range 100 {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.address+"/upload", strings.NewReader(strings.Repeat("x", 400<<10)))
				if err != nil {
					t.Fatal(err)
				}
				resp, err := transport.RoundTrip(request)
				if err != nil {
					t.Fatalf("request %d: %v", i, err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusForbidden {
					t.Fatalf("request %d: %s", i, resp.Status)
				}
			}
		})
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}
