package ratelimitredis

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/ratelimitmemory"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// sidecar is one replica with its own limiter on the shared server. It returns the status that a client gets.
func sidecar(t *testing.T, conn *redis.Conn, onFailure ratelimit.OnFailure) (send func(addr string) int) {
	t.Helper()
	l, err := ratelimit.New(ratelimit.Config{
		Scope: "shop/orders", Store: New(conn), Local: ratelimitmemory.New(ratelimitmemory.Config{}),
		Rules: []ratelimit.Rule{{Name: "login", Limit: 5, Period: time.Hour, OnFailure: onFailure,
			KeyBy: []ratelimit.KeyPart{{Type: ratelimit.ClientAddress}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	h := stage.Chain(stage.Func(func(http.ResponseWriter, *http.Request) error { return nil }), l.Before(), l.After())
	return func(addr string) int {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r = request.With(r, &request.Info{ClientAddr: netip.MustParseAddr(addr), Path: "/"})
		if err := h.ServeHTTP(httptest.NewRecorder(), r); err != nil {
			return httperr.From(err).Status
		}
		return http.StatusOK
	}
}

// outcomes sends n requests from addr, in turn to each replica, and counts the responses.
func outcomes(addr string, n int, replicas ...func(string) int) map[int]int {
	got := map[int]int{}
	for i := range n {
		got[replicas[i%len(replicas)](addr)]++
	}
	return got
}

func TestReplicasThroughAnOutage(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		onFailure ratelimit.OnFailure
		// wantOutage is what twenty requests to two replicas get while Redis is unavailable.
		wantOutage map[int]int
	}{
		"allow: each replica limits by itself": {onFailure: ratelimit.Allow, wantOutage: map[int]int{200: 10, 429: 10}},
		"deny":                                 {onFailure: ratelimit.Deny, wantOutage: map[int]int{503: 20}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			conns := []*redis.Conn{connect(t, standalone(server)), connect(t, standalone(server))}
			one, two := sidecar(t, conns[0], tt.onFailure), sidecar(t, conns[1], tt.onFailure)
			if got := outcomes("192.0.2.1", 20, one, two); got[200] != 5 || got[429] != 15 {
				t.Errorf("with Redis: %v; want five in all", got)
			}
			server.Stop()
			got := outcomes("192.0.2.2", 20, one, two)
			for status, n := range tt.wantOutage {
				if got[status] != n {
					t.Errorf("without Redis: %v; want %v", got, tt.wantOutage)
				}
			}
			server.Restart()
			redistest.Eventually(t, "both replicas to be back", func() bool { return conns[0].Status().Up && conns[1].Status().Up })
			if got := outcomes("192.0.2.3", 20, one, two); got[200] != 5 || got[429] != 15 {
				t.Errorf("with Redis again: %v; want five in all", got)
			}
		})
	}
}
