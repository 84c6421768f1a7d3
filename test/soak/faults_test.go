package soak

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/test/servertest"
)

// closings is how often the app closes its unused connections in a row.
const closings = 20

// schedule repeats all faults in a random order, with a pause between two, until ctx ends. The first round is always complete.
func (w *world) schedule(ctx context.Context, t *testing.T, pause time.Duration) {
	random := rand.New(rand.NewPCG(w.seed, 0))
	probe := w.newClient(1 << 32)
	defer probe.close()
	faults := []func(*world, *testing.T, *client, time.Duration){
		(*world).restartApp, (*world).closeIdle, (*world).rotate, (*world).stopRedis, (*world).hangRedis,
	}
	for round := 0; ctx.Err() == nil || round == 0; round++ {
		random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
		for _, f := range faults {
			if round > 0 && ctx.Err() != nil {
				return
			}
			f(w, t, probe, pause)
			rest(ctx, pause)
		}
	}
}

// rest lets the traffic flow for d.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// restartApp stops the app, until clients notice, and starts it again. The sidecar then has connections that are closed.
func (w *world) restartApp(t *testing.T, probe *client, pause time.Duration) {
	w.ledger.during(appAway, func() {
		w.app.stop()
		w.await(t, probe, "/open/probe", http.StatusBadGateway)
		rest(t.Context(), pause)
		w.app.start(t)
	})
}

// closeIdle makes the app close unused connections again and again. Soon after each time, other requests have used up those that are closed.
func (w *world) closeIdle(t *testing.T, _ *client, pause time.Duration) {
	for range closings {
		w.ledger.during(appCloses, w.app.closeIdle)
		rest(t.Context(), pause/closings)
	}
}

// rotate replaces the certificate, and waits until new connections get it.
func (w *world) rotate(t *testing.T, _ *client, _ time.Duration) {
	w.issue(t)
	want := fmt.Sprintf("version %d", w.version)
	servertest.Eventually(t, "the new certificate", func() bool {
		conn, err := tls.Dial("tcp", w.sidecar.address, w.tlsConfig())
		if err != nil {
			t.Fatalf("during the rotation: %v", err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName == want
	})
}

// stopRedis ends Redis, and starts it again without its data.
func (w *world) stopRedis(t *testing.T, probe *client, pause time.Duration) {
	w.redisFault(t, probe, pause, w.redis.Stop, w.redis.Restart)
}

// hangRedis leaves Redis without responses.
func (w *world) hangRedis(t *testing.T, probe *client, pause time.Duration) {
	w.redisFault(t, probe, pause, w.redis.Pause, w.redis.Resume)
}

// redisFault lasts until the sidecar uses Redis again. Meanwhile all the outcomes must appear that docs/outages.md promises.
func (w *world) redisFault(t *testing.T, probe *client, pause time.Duration, fail, heal func()) {
	w.ledger.during(redisAway, func() {
		fail()
		w.await(t, probe, "/strict/probe", http.StatusServiceUnavailable)
		w.await(t, probe, "/me", http.StatusServiceUnavailable)
		rest(t.Context(), pause)
		heal()
		servertest.Eventually(t, "the sidecar to use Redis again", func() bool {
			page, err := w.sidecar.ask("/readyz")
			return err == nil && strings.Contains(page, `"redis":"up"`)
		})
		w.await(t, probe, "/strict/probe", http.StatusOK)
		w.await(t, probe, "/me", http.StatusOK)
	})
}

// await waits until a request gets a status. Its user is unknown, so that the session must be looked up.
func (w *world) await(t *testing.T, probe *client, path string, want int) {
	t.Helper()
	var err error
	token := "Authorization: Bearer " + w.issuer.stranger(t)
	defer func() {
		if t.Failed() {
			t.Logf("the last result: %v", err)
		}
	}()
	servertest.Eventually(t, fmt.Sprintf("%d for %s", want, path), func() bool {
		_, err = probe.send(probe.plain, http.MethodGet, path, nil, want, token)
		return err == nil
	})
}

// reload gives the sidecar a new version of the policy again and again, until ctx ends.
func (w *world) reload(ctx context.Context, pause time.Duration) {
	for n := w.revision.Load() + 1; ctx.Err() == nil; n++ {
		begin := time.Now()
		problem := w.operator.deliver(policy(n, w.port, w.redis.Addr, w.keys))
		var err error
		if problem != "" {
			err = fmt.Errorf("revision %d: %s", n, problem)
		}
		w.ledger.record("reloads", begin, err)
		if err == nil {
			w.revision.Store(n)
		}
		rest(ctx, pause)
	}
}
