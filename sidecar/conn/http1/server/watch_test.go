package server

import (
	"net"
	"net/http"
	"testing"
	"time"
)

// TestWatchBegins: the server looks for the end of a client's connection only if the request has lasted for Times.Gone. The clock that says when it has
// begun may be late by an interval, and a client that ends its half after its request is not gone before that.
func TestWatchBegins(t *testing.T) {
	for name, tt := range map[string]struct {
		since time.Duration // by that clock, in minutes over Times.Gone; 0 is now
		want  bool
	}{
		"just begun":             {0, false},
		"perhaps not long ago":   {1, false},
		"long enough in any way": {3, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(Config{Handler: http.NotFoundHandler(), Times: Times{Gone: time.Hour}})
			if err != nil {
				t.Fatal(err)
			}
			s.sweeper.epoch, s.sweeper.interval = time.Now().Add(-10*time.Hour), 2*time.Minute
			inner, _ := net.Pipe()
			c := &conn{server: s, net: inner}
			s.conns[c] = struct{}{}
			since := s.sweeper.tick() - int64(time.Hour) - int64(tt.since)*int64(time.Minute)
			if tt.since == 0 {
				since = s.sweeper.tick()
			}
			c.waiting.Store(since)
			s.sweeper.sweep()
			if got := c.waiting.Load() == watched; got != tt.want {
				t.Errorf("watched: %v, want %v", got, tt.want)
			}
		})
	}
}
