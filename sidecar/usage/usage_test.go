package usage

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

func newUsage(t *testing.T) (*Usage, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	u, err := New(Config{Reasons: []string{"wrong_password", "locked"}, Now: func() time.Time { return time.Unix(1000, 0) }}, registry)
	if err != nil {
		t.Fatal(err)
	}
	u.Declare(Policy{Patterns: []string{"/orders/*", "/login", "/api/**", "/login"}, Logins: []string{"login"}, Resets: []string{"reset"}})
	return u, registry
}

func request(method, path string, status int) event.Event {
	return event.Event{Kind: event.Request, Served: &event.Served{Method: method, Path: path, Status: status}}
}

func attempt(outcome event.Outcome, reason, account, address string) event.Event {
	return event.Event{Kind: event.LoginAttempt, Outcome: outcome, Reason: reason, Account: account, Rule: "login", ClientAddr: netip.MustParseAddr(address)}
}

func want(t *testing.T, r *prometheus.Registry, name, lines string) {
	t.Helper()
	if err := testutil.GatherAndCompare(r, strings.NewReader(lines), name); err != nil {
		t.Error(err)
	}
}

func TestRoutes(t *testing.T) {
	u, registry := newUsage(t)
	for _, e := range []event.Event{
		request("GET", "/orders/7", 200), request("GET", "/orders/8", 500), request("DELETE", "/orders/8", 405), request("BREW", "/orders/8", 200),
		request("GET", "/api/users/7", 200), request("GET", "/api/users/8", 404), request("GET", "/api/nothing", 404), request("GET", "/nothing", 404),
		{Kind: event.Request, Served: &event.Served{Method: "GET", Path: "/x", Aborted: true}},
	} {
		u.Record(e)
	}
	want(t, registry, "postern_route_requests_total", `
# HELP postern_route_requests_total Requests by pattern of the path (declared in the policy, or learned from paths that the app serves), method and class of the status.
# TYPE postern_route_requests_total counter
postern_route_requests_total{code="2xx",method="GET",route="/api/users/*"} 1
postern_route_requests_total{code="2xx",method="GET",route="/orders/*"} 1
postern_route_requests_total{code="2xx",method="other",route="/orders/*"} 1
postern_route_requests_total{code="4xx",method="GET",route="/api/users/*"} 1
postern_route_requests_total{code="4xx",method="other",route="/api/**"} 1
postern_route_requests_total{code="4xx",method="other",route="/orders/*"} 1
postern_route_requests_total{code="4xx",method="other",route="other"} 1
postern_route_requests_total{code="5xx",method="GET",route="/orders/*"} 1
postern_route_requests_total{code="aborted",method="other",route="other"} 1
`)
}

func TestFailedLoginsAndResets(t *testing.T) {
	u, registry := newUsage(t)
	u.Record(attempt(event.Success, "", "ada", "192.0.2.1"))
	u.Record(attempt(event.Refused, "wrong_password", "ada", "192.0.2.1"))
	u.Record(event.Event{Kind: event.ResetRequest, Outcome: event.Success, Rule: "reset"})
	const failed = `
# HELP postern_failed_logins_total Attempts to log in at protected routes that failed, by reason: what the app did (wrong_password, app_refused, app_error, aborted), or why it did not get the attempt (locked, challenge, unreadable, unavailable).
# TYPE postern_failed_logins_total counter
`
	want(t, registry, "postern_failed_logins_total", failed+`
postern_failed_logins_total{reason="locked",route="login"} 0
postern_failed_logins_total{reason="wrong_password",route="login"} 1
`)
	want(t, registry, "postern_password_reset_requests_total", `
# HELP postern_password_reset_requests_total Requests for a new password at protected routes by result: ok, or the reason why the app did not accept them or did not get them.
# TYPE postern_password_reset_requests_total counter
postern_password_reset_requests_total{result="locked",route="reset"} 0
postern_password_reset_requests_total{result="ok",route="reset"} 1
postern_password_reset_requests_total{result="wrong_password",route="reset"} 0
`)
	u.Declare(Policy{Logins: []string{"signin"}})
	want(t, registry, "postern_failed_logins_total", failed+`
postern_failed_logins_total{reason="locked",route="signin"} 0
postern_failed_logins_total{reason="wrong_password",route="signin"} 0
`)
}

func TestTop(t *testing.T) {
	u, _ := newUsage(t)
	for range 3 {
		u.Record(attempt(event.Refused, "wrong_password", "ada", "192.0.2.1"))
	}
	u.Record(attempt(event.Shadow, "locked", "eve", "2001:db8::1"))
	u.Record(attempt(event.Shadow, "locked", "eve", "2001:db8::2"))
	u.Record(attempt(event.Refused, "unreadable", "", "192.0.2.9"))
	u.Record(attempt(event.Failed, "app_error", "bob", "192.0.2.7"))
	u.Record(attempt(event.Success, "", "bob", "192.0.2.7"))
	u.Record(event.Event{Kind: event.LimitHit, Outcome: event.Refused, ClientAddr: netip.MustParseAddr("192.0.2.2")})
	u.Record(event.Event{Kind: event.AuthorizationRefused, Outcome: event.Shadow, ClientAddr: netip.MustParseAddr("192.0.2.3")})
	u.Record(event.Event{Kind: event.RequestRefused, Outcome: event.Refused})
	u.Record(request("GET", "/orders/7", 200))
	b, err := json.Marshal(u.Top(10))
	if err != nil {
		t.Fatal(err)
	}
	const at = `"last":"1970-01-01T00:16:40Z"}`
	want := `{"failedLogins":{"accounts":[{"account":"ada","count":3,"atMost":3,` + at + `,{"account":"eve","count":2,"atMost":2,` + at + `],` +
		`"addresses":[{"address":"192.0.2.1","count":3,"atMost":3,` + at + `,{"address":"2001:db8::/64","count":2,"atMost":2,` + at + `,{"address":"192.0.2.9","count":1,"atMost":1,` + at + `]},` +
		`"refusals":{"addresses":[{"address":"192.0.2.2","count":1,"atMost":1,` + at + `]},"routes":[{"route":"/orders/*","count":1}]}`
	if string(b) != want {
		t.Errorf("%s\nwant\n%s", b, want)
	}
	if n := len(u.Top(1).FailedLogins.Accounts); n != 1 {
		t.Errorf("%d accounts; want 1", n)
	}
	if empty, _ := newUsage(t); !reflect.DeepEqual(empty.Top(MaxTop+1), Top{FailedLogins{[]Account{}, []Address{}}, Refusals{[]Address{}}, []Route{}}) {
		t.Errorf("%+v", empty.Top(5))
	}
}

// TestNothingThatClientsSendMakesSeries: after one request of each kind, 100,000 paths, methods, accounts and addresses add no series.
func TestNothingThatClientsSendMakesSeries(t *testing.T) {
	u, registry := newUsage(t)
	flood := func(from, to int) {
		for i := from; i < to; i++ {
			for _, path := range []string{fmt.Sprintf("/orders/x%d", i), fmt.Sprintf("/p%d/q%d", i, i), fmt.Sprintf("/api/a%d", i)} {
				for _, method := range []string{"GET", "POST", fmt.Sprintf("M%d", i)} {
					u.Record(request(method, path, 404))
				}
			}
			u.Record(attempt(event.Refused, "wrong_password", fmt.Sprintf("user%d", i), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()))
		}
	}
	count := func() (n int) {
		n, err := testutil.GatherAndCount(registry)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	flood(0, 1)
	before := count()
	if flood(1, 100_000); count() != before {
		t.Errorf("%d series before, %d after", before, count())
	}
}

func TestRecordAllocatesLittle(t *testing.T) {
	u, _ := newUsage(t)
	e := request("GET", "/orders/7", 200)
	if n := testing.AllocsPerRun(1000, func() { u.Record(e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
