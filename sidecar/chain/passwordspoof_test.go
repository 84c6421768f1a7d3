package chain

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestClientsSayNothingOfPasswords: the app sees neither Postern-Password-Breached nor Postern-Password-Expired of a client, in no spelling, as a
// header or a trailer, announced or not, over HTTP/1.1 and HTTP/2.
func TestClientsSayNothingOfPasswords(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	reached := 0
	w := newWorld(t)
	w.sleep = func(context.Context, time.Duration) {}
	w.app.Close()
	w.app = httptest.NewServer(unprobed(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		reached++
		for _, fields := range []http.Header{r.Header, r.Trailer} {
			for name := range fields {
				plain := strings.ToLower(strings.Map(func(r rune) rune {
					if r < 'A' {
						return -1
					}
					return r
				}, strings.ReplaceAll(name, "_", "")))
				if strings.Contains(plain, "posternpassword") {
					seen = append(seen, name)
				}
			}
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(w.app.Close)
	s := w.sidecar(loginProtectionPolicy("", nil)).ready()
	sent := 0
	body := func() string { return fmt.Sprintf(`{"email":"user%d"}`, sent) }
	for _, what := range []string{"Breached", "Expired"} {
		for _, name := range []string{"Postern-Password-" + what, "POSTERN-PASSWORD-" + what, "postern_password_" + what, "Postern.Password." + what, "Postern-Password_" + what, "X-Postern-Password-" + what} {
			for _, announced := range []string{"", "Trailer: " + name + "\r\n"} {
				sent++
				raw(t, s.url, fmt.Sprintf("POST /login HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: 203.0.113.%d\r\nContent-Type: application/json\r\n%s: true\r\n%sTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n%x\r\n%s\r\n0\r\n%s: true\r\n\r\n",
					sent, name, announced, len(body()), body(), name))
			}
			sent++
			overH2(t, s.url, name, fmt.Sprintf("203.0.113.%d", sent), body())
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) > 0 || reached != sent {
		t.Errorf("%d requests of %d reached the app, which saw %q", reached, sent, seen)
	}
}

// overH2 logs in over HTTP/2 with a field in the header and in the trailer.
func overH2(t *testing.T, url, name, addr, body string) {
	t.Helper()
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/login", io.MultiReader(strings.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/json"}, "X-Forwarded-For": {addr}, name: {"true"}}
	r.Trailer = http.Header{name: {"true"}}
	res, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
}
