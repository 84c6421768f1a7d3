package server

import (
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestLimitsFollowMemory(t *testing.T) {
	tests := map[string]struct {
		limit int64
		want  limits
	}{
		"no limit":            {math.MaxInt64, limits{maxLimit, maxLimit}},
		"the default's 230Mi": {230 << 20, limits{339, 1682}},
		"very little":         {1 << 20, limits{minLimit, minLimit}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := limitsFor(tt.limit); got != tt.want {
				t.Errorf("got %+v; want %+v", got, tt.want)
			}
		})
	}
}

// TestHashesFitIntoMemory: a flood of logins ends with 503 and does not kill the pod.
func TestHashesFitIntoMemory(t *testing.T) {
	tests := map[string]struct {
		limit int64
		want  uint32
	}{
		"no limit":            {math.MaxInt64, 128 << 10},
		"the default's 230Mi": {230 << 20, 115 << 10},
		"64Mi":                {57 << 20, 57 << 9},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := hashMemory(tt.limit); got != tt.want {
				t.Errorf("got %d KiB; want %d", got, tt.want)
			}
		})
	}
}

func TestAtMost(t *testing.T) {
	arrived, proceed := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(atMost(2, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-proceed
	})))
	defer server.Close()
	ask := func() (*http.Response, error) {
		resp, err := http.Get(server.URL)
		if err == nil {
			resp.Body.Close()
		}
		return resp, err
	}
	done := make(chan int, 2)
	for range 2 {
		go func() {
			resp, err := ask()
			if err != nil {
				done <- 0
				return
			}
			done <- resp.StatusCode
		}()
	}
	<-arrived
	<-arrived
	resp, err := ask()
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the third: %d %v", resp.StatusCode, resp.Header)
	}
	close(proceed)
	for range 2 {
		if got := <-done; got != http.StatusOK {
			t.Errorf("one of the two: %d", got)
		}
	}
	go func() { <-arrived }()
	if resp, err := ask(); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %v, %v", resp, err)
	}
}
