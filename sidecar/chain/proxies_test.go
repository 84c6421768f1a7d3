package chain

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// TestUntrustedProxyIsReported: behind an ingress that is not trusted, the app sees http, and nothing else says why.
func TestUntrustedProxyIsReported(t *testing.T) {
	for name, tt := range map[string]struct {
		trusted []string
		want    int
	}{
		"not trusted": {want: 1},
		"trusted":     {trusted: []string{"192.0.2.0/24"}},
	} {
		t.Run(name, func(t *testing.T) {
			shared, p := newShared(t), policy(newIssuer(t))
			p.Sidecar.TrustedProxies = tt.trusted
			c := config(t, shared)
			c.App = proxyTo(t, http.NotFoundHandler())
			snapshot, err := Build(p, c)
			if err != nil {
				t.Fatal(err)
			}
			defer snapshot.Close()
			r := httptest.NewRequest("GET", "/", nil) // from 192.0.2.1
			r.Header.Set("X-Forwarded-Proto", "https")
			snapshot.ServeHTTP(httptest.NewRecorder(), r)
			found := 0
			for _, problem := range shared.Problems() {
				if problem.Kind == compiled.ProblemClientAddress {
					found++
				}
			}
			if found != tt.want {
				t.Errorf("%d problems about the client's address; want %d", found, tt.want)
			}
		})
	}
}
