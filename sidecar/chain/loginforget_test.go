package chain

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestStrangersMakeNoDeviceUnknown: without Redis, a client that makes the pod remember many responses, each for another host, does not make it
// forget the key of the device cookies. Otherwise an attacker could lock an owner out of a known device.
func TestStrangersMakeNoDeviceUnknown(t *testing.T) {
	t.Parallel()
	w, later := newWorld(t), atomic.Int64{}
	w.sleep, w.now = func(context.Context, time.Duration) {}, func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
	l := &logins{t: t, app: &passwordApp{}}
	w.app.Close()
	w.app = httptest.NewServer(unprobed(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "shop.example.com" {
			l.app.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "no login at "+r.Host)
	}))
	t.Cleanup(w.app.Close)
	l.replicas = []*sidecar{w.sidecar(loginProtectionPolicy("", nil)).ready()}
	try := func(host, addr, account, password string, cookies ...*http.Cookie) got {
		return l.replicas[0].send(sent{
			method: "POST", path: "/login", host: host, body: fmt.Sprintf(`{"email":%q,"password":%q}`, account, password), cookies: cookies,
			header: http.Header{"Content-Type": {"application/json"}, "X-Forwarded-For": {addr}},
		})
	}
	device := deviceOf(t, try("shop.example.com", "198.51.100.1", "ada@example.com", "right"))
	later.Store(int64(2 * time.Minute)) // the key is read again
	for i := range 300 {
		try(fmt.Sprintf("h%d.example.com", i), fmt.Sprintf("203.0.113.%d", i%250), fmt.Sprintf("user%d@example.com", i), "guess")
	}
	for i := range 5 {
		try("shop.example.com", fmt.Sprintf("203.0.113.%d", i), "ada@example.com", "guess")
	}
	if g := try("shop.example.com", "198.51.100.1", "ada@example.com", "right"); g.status != 401 {
		t.Fatalf("the account is not locked: %d", g.status)
	}
	if g := try("shop.example.com", "198.51.100.1", "ada@example.com", "right", device); g.status != 200 {
		t.Errorf("the known device: %d %s; want 200", g.status, g.text)
	}
}
