package service

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func get(ctx context.Context, t *testing.T, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDo(t *testing.T) {
	secret := "s3cret"
	tests := map[string]struct {
		handler http.HandlerFunc
		want    string // "" for ErrUnavailable
	}{
		"a response":    {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("yes")) }, "yes"},
		"an error":      {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 500) }, ""},
		"too long":      {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.Repeat("x", 101))) }, ""},
		"a redirect":    {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, ""},
		"a closed line": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ""},
		"a broken body": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			_, _ = w.Write([]byte("x"))
		}, ""},
		"another status": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tt.handler)
			defer server.Close()
			c := NewClient(Config{})
			defer c.Close()
			body, err := c.Do(get(t.Context(), t, server.URL+"/?key="+secret), 100)
			if string(body) != tt.want || errors.Is(err, ErrUnavailable) != (tt.want == "") {
				t.Errorf("%q, %v; want %q", body, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%v contains the URL", err)
			}
		})
	}
}

// TestPause: a service that failed three times gets no requests for a while, then one.
func TestPause(t *testing.T) {
	var requests atomic.Int32
	var works atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		if !works.Load() {
			w.WriteHeader(503)
		}
	}))
	defer server.Close()
	now := time.Unix(0, 0)
	c := NewClient(Config{Now: func() time.Time { return now }})
	defer c.Close()
	try := func(n int) {
		t.Helper()
		for range n {
			_, _ = c.Do(get(t.Context(), t, server.URL), 10)
		}
	}
	want := func(n int32) {
		t.Helper()
		if got := requests.Load(); got != n {
			t.Fatalf("%d requests; want %d", got, n)
		}
	}
	try(10)
	want(3)
	now = now.Add(pauseFor)
	try(10)
	want(4)
	now = now.Add(pauseFor)
	works.Store(true)
	try(10)
	want(14)
}

// TestClientThatLeaves: that clients of the sidecar leave is no failure of the service.
func TestClientThatLeaves(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	c := NewClient(Config{})
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 5 {
		if _, err := c.Do(get(ctx, t, server.URL), 10); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if _, err := c.Do(get(t.Context(), t, server.URL), 10); err != nil {
		t.Error(err)
	}
}

// TestPlaces: a service that hangs holds no more requests than it has places.
func TestPlaces(t *testing.T) {
	reached, release := make(chan struct{}, 2), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		reached <- struct{}{}
		<-release
	}))
	defer server.Close()
	c := NewClient(Config{Parallel: 2, Timeout: time.Minute})
	defer c.Close()
	done := make(chan error, 2)
	for range 2 {
		r := get(t.Context(), t, server.URL)
		go func() {
			_, err := c.Do(r, 10)
			done <- err
		}()
		<-reached
	}
	if _, err := c.Do(get(t.Context(), t, server.URL), 10); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a third: %v", err)
	}
	close(release)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
