package chain

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestClientsMakeNoSeries: after one request of each kind, 100,000 paths, methods, hosts, addresses and tokens, and thousands of accounts, add no
// series to any metric of the sidecar.
func TestClientsMakeNoSeries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.registry = prometheus.NewRegistry()
	app := &passwordApp{}
	w.app.Config.Handler = unprobed(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			app.ServeHTTP(rw, r)
			return
		}
		rw.WriteHeader(http.StatusNotFound)
	})
	s := w.sidecar(loginProtectionPolicy("", nil)).ready()
	handler := s.snapshot.Load()
	send := func(method, path, host, address, token, body string) {
		r := httptest.NewRequest(method, "http://"+host+path, strings.NewReader(body))
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("X-Forwarded-For", address)
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	flood := func(i int) {
		host, address := fmt.Sprintf("h%d.example.com", i), fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)
		send(fmt.Sprintf("M%d", i), fmt.Sprintf("/secret/x%d", i), host, address, "", "")
		send("GET", fmt.Sprintf("/orders/%d/x%d", i, i), host, address, fmt.Sprintf("t%d.x.y", i), "")
		if i%50 == 0 {
			send("GET", fmt.Sprintf("/public/a%d/b%d", i, i), host, address, "", "")
			send("POST", "/login", host, address, "", fmt.Sprintf(`{"email":"user%d@example.com","password":"guess"}`, i))
			send("POST", "/password/reset", host, address, "", "email="+fmt.Sprint("user", i))
		}
	}
	count := func() int {
		n, err := testutil.GatherAndCount(w.registry)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 300 { // until the limits of logins are reached
		flood(i * 50)
	}
	before := count()
	for i := range 50_000 {
		flood(i)
	}
	if after := count(); after != before || before < 50 {
		t.Errorf("%d series before, %d after", before, after)
	}
}
