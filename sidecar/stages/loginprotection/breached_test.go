package loginprotection

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// uncounted is a store without counters.
type uncounted struct{ Store }

func (uncounted) End(_ context.Context, counters []Counter, _ []Outcome) ([]bool, error) {
	return make([]bool, len(counters)), nil
}

func (uncounted) Put(context.Context, string, []byte, time.Duration, bool) ([]byte, error) {
	return nil, nil
}

func (uncounted) Get(context.Context, string) ([]byte, error) { return nil, nil }

type sourceFunc func() (int, error)

func (f sourceFunc) Count(context.Context, string) (int, error) { return f() }

// TestRefusalsTakeTheTimeOfLookUps: the time that a refusal is made to take is that of the look-up and the app, so that a client cannot tell a
// locked account by it.
func TestRefusalsTakeTheTimeOfLookUps(t *testing.T) {
	for name, err := range map[string]error{"available": nil, "unavailable": errors.New("down")} {
		t.Run(name, func(t *testing.T) {
			metrics, e := NewMetrics(prometheus.NewRegistry())
			if e != nil {
				t.Fatal(e)
			}
			now := time.Unix(1e9, 0)
			g := &guard{memory: newMemories(1), space: keyspace.New("login", "shop/orders"), cfg: Config{
				Now: func() time.Time { return now }, Metrics: metrics, Logger: slog.New(slog.DiscardHandler),
				Breached: &BreachedList{MinCount: 1, Source: sourceFunc(func() (int, error) {
					now = now.Add(700 * time.Millisecond)
					return 1, err
				})},
			}}
			match, e := route.NewMatcher([]route.Match{{Paths: []string{"/login"}}})
			if e != nil {
				t.Fatal(e)
			}
			login := &Route{Name: "login", Kind: Login, Match: match, FailureStatuses: []int{401}}
			a := &attempt{guard: g, route: login, info: &request.Info{}, store: uncounted{}, password: "x"}
			app := stage.Func(func(w http.ResponseWriter, r *http.Request) error {
				if told := r.Header.Get(BreachedHeader) == "true"; told != (err == nil) {
					t.Errorf("the app is told: %v", told)
				}
				now = now.Add(100 * time.Millisecond)
				w.WriteHeader(http.StatusUnauthorized)
				return nil
			})
			fast := stage.Func(func(w http.ResponseWriter, _ *http.Request) error {
				w.WriteHeader(http.StatusUnauthorized)
				return nil
			})
			if err := a.forward(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/login", nil), app); err != nil {
				t.Fatal(err)
			}
			if took := g.memory.duration(0, answer{401, true}, func(int) int { return 0 }); took != 800*time.Millisecond {
				t.Errorf("refusals take %s; want 800ms", took)
			}
			a.password = "" // is not looked up, and does not change the time of those that are
			if err := a.forward(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/login", nil), fast); err != nil {
				t.Fatal(err)
			}
			last := func(n int) int { return n - 1 }
			if with, without := g.memory.duration(0, answer{401, true}, last), g.memory.duration(0, answer{401, false}, last); with != 800*time.Millisecond || without != 0 {
				t.Errorf("refusals take %s with a password, and %s without", with, without)
			}
		})
	}
}

// TestWhatIsLookedUp: passwords of logins, and nothing without a list.
func TestWhatIsLookedUp(t *testing.T) {
	list := &BreachedList{}
	for name, tt := range map[string]struct {
		kind     Kind
		list     *BreachedList
		password string
		want     bool
	}{
		"a login":                      {Login, list, "x", true},
		"a login without a password":   {Login, list, "", false},
		"a login without a list":       {Login, nil, "x", false},
		"a request for a new password": {PasswordReset, list, "x", false},
	} {
		a := &attempt{guard: &guard{cfg: Config{Breached: tt.list}}, route: &Route{Kind: tt.kind}, password: tt.password}
		if got := a.looksUp(); got != tt.want {
			t.Errorf("%s: %v; want %v", name, got, tt.want)
		}
	}
}
