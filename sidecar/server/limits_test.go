package server

import (
	"math"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
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

// TestTuneGC: a process with a memory limit collects less often, unless the environment sets GOGC.
func TestTuneGC(t *testing.T) {
	const unlimited = math.MaxInt64
	tests := map[string]struct {
		limit int64
		gogc  string
		want  int
	}{
		"limited":              {limit: 1 << 30, want: gcPercent},
		"limited, GOGC is set": {limit: 1 << 30, gogc: "50", want: 77},
		"without a limit":      {limit: unlimited, want: 77},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			percent, limit := debug.SetGCPercent(77), debug.SetMemoryLimit(tc.limit)
			defer debug.SetMemoryLimit(limit)
			defer debug.SetGCPercent(percent)
			restore := tuneGC(func(string) string { return tc.gogc })
			got := debug.SetGCPercent(77)
			debug.SetGCPercent(got)
			if got != tc.want {
				t.Errorf("GOGC is %d; want %d", got, tc.want)
			}
			if restore(); debug.SetGCPercent(77) != 77 {
				t.Error("the previous value was not restored")
			}
		})
	}
}
