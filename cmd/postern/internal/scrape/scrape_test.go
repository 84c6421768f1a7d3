package scrape

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posterndev/postern/cmd/postern/internal/screen"
)

var start = time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)

// pod returns what a pod said so many seconds after the start.
func pod(t *testing.T, name, policy string, seconds int, text string) Pod {
	t.Helper()
	m, err := Parse([]byte(text), Wanted)
	if err != nil {
		t.Fatal(err)
	}
	return Pod{Namespace: "shop", Name: name, Policy: policy, At: start.Add(time.Duration(seconds) * time.Second), Metrics: m}
}

const first = `# TYPE postern_http_requests_total counter
postern_http_requests_total{code="200",method="GET",port="8080"} 100
postern_http_requests_total{code="502",method="GET",port="8080"} 10
# TYPE postern_decisions_total counter
postern_decisions_total{stage="authz",rule="r",code="forbidden",mode="enforce"} 5
postern_decisions_total{stage="authz",rule="r",code="forbidden",mode="shadow"} 7
# TYPE postern_overload_refusals_total counter
postern_overload_refusals_total{reason="x"} 1
# TYPE postern_login_attempts_total counter
postern_login_attempts_total{route="login",result="failure"} 3
postern_login_attempts_total{route="login",result="success"} 50
# TYPE postern_http_requests_in_flight gauge
postern_http_requests_in_flight 4
# TYPE postern_sessions_memory_sessions gauge
postern_sessions_memory_sessions{policy="orders"} 9
# TYPE postern_http_request_duration_seconds histogram
postern_http_request_duration_seconds_bucket{port="8080",le="+Inf"} 3
postern_http_request_duration_seconds_sum{port="8080"} 1
postern_http_request_duration_seconds_count{port="8080"} 3
`

func replaced(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(first) }

// TestFigures checks each figure: what counts, what does not, and that a counter that was reset counts from 0.
func TestFigures(t *testing.T) {
	nine := 9.0
	known := func(f Figures) Figures {
		f.InFlight, f.Sessions = 4, &nine
		return f
	}
	none := Figures{Requests: -1, ServerErrors: -1, Refused: -1, Shadow: -1, FailedLogins: -1, Logins: -1}
	for name, tt := range map[string]struct {
		text string
		want Figures
	}{
		"nothing happened":  {first, known(Figures{})},
		"requests":          {replaced(`port="8080"} 100`, `port="8080"} 150`), known(Figures{Requests: 5})},
		"a new series":      {first + "postern_http_requests_total{code=\"404\",method=\"GET\",port=\"8080\"} 20\n", known(Figures{Requests: 2})},
		"errors":            {replaced(`port="8080"} 10`+"\n", `port="8080"} 15`+"\n"), known(Figures{Requests: 0.5, ServerErrors: 0.5})},
		"refusals":          {replaced(`mode="enforce"} 5`, `mode="enforce"} 25`, `reason="x"} 1`, `reason="x"} 11`), known(Figures{Refused: 3})},
		"shadow":            {replaced(`mode="shadow"} 7`, `mode="shadow"} 17`), known(Figures{Shadow: 1})},
		"failed logins":     {replaced(`"failure"} 3`, `"failure"} 23`, `"success"} 50`, `"success"} 100`), known(Figures{FailedLogins: 2})},
		"after a restart":   {replaced(`port="8080"} 100`, `port="8080"} 40`, `port="8080"} 10`+"\n", `port="8080"} 0`+"\n"), known(Figures{Requests: 4})},
		"a metric is gone":  {replaced("postern_decisions_total", "other_total"), known(Figures{})},
		"the newer metric":  {first + "# TYPE postern_failed_logins_total counter\npostern_failed_logins_total{policy=\"orders\",reason=\"locked\"} 10\n", known(Figures{FailedLogins: 1})},
		"nothing was there": {"", none},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := pod(t, "a", "orders", 0, first), pod(t, "a", "orders", 10, tt.text)
			if tt.text == "" {
				after = pod(t, "a", "orders", 10, first)
				if diff := cmp.Diff(known(none), FiguresOf(nil, &after)); diff != "" {
					t.Error(diff)
				}
				return
			}
			if diff := cmp.Diff(tt.want, FiguresOf(&before, &after)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestRows: pods of a policy are added up. A pod that did not answer, or was read once, is not in the rates.
func TestRows(t *testing.T) {
	more := func(n int) string { return replaced(`port="8080"} 100`, fmt.Sprintf(`port="8080"} %d`, 100+n)) }
	silent := Pod{Namespace: "shop", Name: "d", Policy: "orders", Err: errors.New("timeout")}
	before := []Pod{pod(t, "a", "orders", 0, first), pod(t, "b", "orders", 0, first), pod(t, "x", "basket", 0, first), silent}
	after := []Pod{pod(t, "a", "orders", 10, more(10)), pod(t, "b", "orders", 10, more(20)), pod(t, "c", "orders", 10, first), silent, pod(t, "x", "basket", 10, more(1000))}
	rows := Rows(before, after, false)
	if len(rows) != 2 || rows[0].Policy != "basket" || rows[0].Requests != 100 || rows[1].Requests != 3 || rows[1].Pods != 4 || rows[1].Answered != 3 || rows[1].Measured != 2 ||
		rows[1].InFlight != 12 || *rows[1].Sessions != 27 || rows[1].Error != "timeout" {
		t.Errorf("%+v", rows)
	}
	total := Total(rows)
	if total.Requests != 103 || total.Pods != 5 || total.Answered != 4 || *total.Sessions != 36 {
		t.Errorf("%+v", total)
	}
	pods := Rows(before, after, true)
	if len(pods) != 5 || pods[0].Pod != "x" || pods[4].Requests != -1 {
		t.Errorf("%+v", pods)
	}
	if once := Rows(nil, after, false); once[0].Requests != -1 || Total(once).Requests != -1 {
		t.Errorf("%+v", once)
	}
}

func TestMerge(t *testing.T) {
	parse := func(text string) Top {
		top, err := ParseTop([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return top
	}
	a := parse(`{"failedLogins":{"accounts":[{"account":"ada","count":3,"atMost":3,"last":"2026-11-29T08:00:00Z"},{"account":"bob","count":4,"last":"2026-11-29T08:00:00Z"}],"addresses":[{"address":"192.0.2.1","count":7,"last":"2026-11-29T08:00:00Z"}]},"refusals":{"addresses":[]},"routes":[]}`)
	b := parse(`{"failedLogins":{"accounts":[{"account":"ada","count":5,"last":"2026-11-29T08:30:00Z"},{"account":"eve","count":1}],"addresses":[]},"refusals":{"addresses":[{"address":"192.0.2.9","count":2}]}}`)
	got := Merge([]Top{a, b}, 2)
	if len(got.Accounts) != 2 || got.Accounts[0].Account != "ada" || got.Accounts[0].Count != 8 || got.Accounts[0].Last.Minute() != 30 || got.Accounts[1].Account != "bob" ||
		len(got.Addresses) != 1 || got.Refused[0].Address != "192.0.2.9" {
		t.Errorf("%+v", got)
	}
	if _, err := ParseTop([]byte("<html>")); err == nil {
		t.Error("HTML is a top list")
	}
}

// TestText: the table is readable, and what pods say cannot control the terminal.
func TestText(t *testing.T) {
	before, after := []Pod{pod(t, "a", "orders", 0, first)}, []Pod{pod(t, "a", "orders", 10, replaced(`"failure"} 3`, `"failure"} 23`)), {Namespace: "shop", Name: "b", Policy: "orders", Err: errors.New("x")}}
	v := View{Time: start, Rows: Rows(before, after, false), Lists: &Lists{Accounts: []Counted{{Account: "ada\x1b[2J", Count: 5, Last: start.Add(-time.Minute)}}}, Unanswered: []string{"shop/b: \x1b"}}
	want := "" +
		"POLICY  PODS  REQ/S  5XX/S  REFUSED/S  SHADOW/S  FAILED LOGINS/S  LOGINS/S  OPEN  SESSIONS\n" +
		"orders  1/2   0.00   0.00   0.00       0.00      2.00             0.00      4     9\n" +
		"\n" +
		"ACCOUNTS WITH FAILED LOGINS  COUNT  LAST\n" +
		"ada\\x1b[2J                   5      60s ago\n" +
		"\n" +
		"no answer: shop/b: \\x1b\n"
	if got := v.Text(screen.Style{}, false, false); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := (View{}).Text(screen.Style{}, false, false); got != "No running pod has a sidecar.\n" {
		t.Error(got)
	}
}

func TestTotals(t *testing.T) {
	got, err := Totals([]byte(first))
	if err != nil || got["postern_http_requests_total"] != 110 {
		t.Errorf("%v %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(first))
	f.Add([]byte("# TYPE a counter\na NaN\na{b=\"\xff\"} -1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := Parse(text, nil)
		if err != nil {
			return
		}
		p := Pod{At: start, Metrics: m}
		q := Pod{At: start.Add(time.Second), Metrics: m}
		for _, r := range rates {
			if got := *r.into(ptr(FiguresOf(&p, &q))); got < 0 {
				t.Errorf("the rate is %v", got)
			}
		}
	})
}

func ptr[T any](v T) *T { return &v }
