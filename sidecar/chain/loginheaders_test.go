package chain

import (
	"net/http"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// TestVariantsOfLoginHeaders: a client cannot name the account, or send the password or the solved challenge, in a header that only the app
// reads as that field, nor remove the field with Connection.
func TestVariantsOfLoginHeaders(t *testing.T) {
	t.Parallel()
	l := looksUp(t, compiled.Enforce, func(p *compiled.LoginProtection) {
		p.Routes[0].Account, p.Routes[0].Password = compiled.RequestField{Header: "X-Account"}, &compiled.RequestField{Header: "X-Password"}
	})
	for name, tt := range map[string]struct {
		header     http.Header
		wantStatus int
	}{
		"underscores": {http.Header{"X_Account": {"ada"}, "X_Password": {"guess"}}, 401},
		"dots":        {http.Header{"X.Account": {"ada"}, "X.password": {"guess"}}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			tt.header.Set("Content-Type", "application/json")
			if g := l.replicas[0].send(sent{method: "POST", path: "/login", header: tt.header, body: `{}`}); g.status != tt.wantStatus {
				t.Errorf("%d %s", g.status, g.text)
			}
			for field := range l.app.seen[len(l.app.seen)-1] {
				if f := strings.ToLower(field); strings.HasSuffix(f, "account") || strings.HasSuffix(f, "password") {
					t.Errorf("the app got %s", field)
				}
			}
		})
	}
	before := l.counts()
	header := http.Header{"Content-Type": {"application/json"}, "X-Account": {"ada"}, "X-Password": {"guess"}, "Connection": {"X-Account, X-Password"}}
	if g := l.replicas[0].send(sent{method: "POST", path: "/login", header: header, body: `{}`}); g.status != 401 || l.counts() == before {
		t.Errorf("the fields named in Connection were removed, or refused: %d, counted %q", g.status, l.counts())
	}
}
