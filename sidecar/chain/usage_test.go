package chain

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/posterndev/postern/sidecar/usage"
)

// TestTop: the loopback API names the account and the address that fail most, and refuses callers that are not the app.
func TestTop(t *testing.T) {
	t.Parallel()
	l := loginsOn(t, "", nil)
	l.replicas = l.replicas[:1]
	for i := range 4 {
		l.attempt("203.0.113.9", "Ada@example.com", fmt.Sprint("guess", i))
	}
	l.attempt("198.51.100.1", "bob@example.com", "right")
	s := l.replicas[0]
	s.send(sent{method: "GET", path: "/orders"})
	g := s.loopback("GET", "/v1/top", "")
	var top usage.Top
	if err := json.Unmarshal([]byte(g.text), &top); err != nil || g.status != 200 {
		t.Fatalf("%d %s", g.status, g.text)
	}
	if a := top.FailedLogins.Accounts; len(a) != 1 || a[0].Account != "ada@example.com" || a[0].Count != 4 {
		t.Errorf("accounts %+v", a)
	}
	if a := top.FailedLogins.Addresses; len(a) != 1 || a[0].Address != "203.0.113.9" || a[0].Count != 4 {
		t.Errorf("addresses %+v", a)
	}
	if a := top.Refusals.Addresses; len(a) != 1 || a[0].Address != "127.0.0.1" || a[0].Count != 1 {
		t.Errorf("refusals %+v", a)
	}
	if r := top.Routes; len(r) == 0 || r[0].Route != "/login" || r[0].Count != 5 {
		t.Errorf("routes %+v", r)
	}
}
