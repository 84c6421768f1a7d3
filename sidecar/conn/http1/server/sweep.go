package server

import (
	"net/http"
	"sync/atomic"
	"time"
)

// sweeper is the clock and the alarm of all connections. A connection only stores until when it may wait; the sweeper looks at all of
// them a few times a second, and interrupts those that are late. So no operation sets a deadline, and none reads the clock.
type sweeper struct {
	server   *Server
	epoch    time.Time
	interval time.Duration
	// now is the time since epoch at the last look, in nanoseconds; never 0.
	now atomic.Int64
	// text is the value of the Date field in the current second.
	text atomic.Pointer[dateText]
	// running is protected by the server's mutex.
	running bool
}

// maxSweepInterval is the pause between two looks, which is shorter only in tests with short times.
const maxSweepInterval = 100 * time.Millisecond

func sweepInterval(t Times) time.Duration {
	shortest := min(t.Head, t.Idle, t.Stall, t.Window, 4*maxSweepInterval)
	return min(max(shortest/4, 5*time.Millisecond), maxSweepInterval)
}

// startLocked starts the sweeper if it does not run. It runs while a connection is open.
func (s *sweeper) startLocked() {
	if s.running {
		return
	}
	s.running = true
	s.tick()
	go s.run()
}

func (s *sweeper) tick() int64 {
	at := time.Now()
	now := max(int64(at.Sub(s.epoch)), 1)
	s.now.Store(now)
	if text := s.text.Load(); text == nil || text.second != at.Unix() {
		s.text.Store(&dateText{at.Unix(), at.UTC().Format(http.TimeFormat)})
	}
	return now
}

type dateText struct {
	second int64
	value  string
}

// date returns the value of the Date field (RFC 9110 §6.6.1), late by at most an interval.
func (s *sweeper) date() string { return s.text.Load().value }

func (s *sweeper) run() {
	ticker := time.NewTicker(s.interval)
	defer ticker.Stop()
	for range ticker.C {
		if !s.sweep() {
			return
		}
	}
}

// sweep interrupts what is late. It returns false if no connection is left.
func (s *sweeper) sweep() bool {
	now := s.tick()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	if len(s.server.conns) == 0 {
		s.running = false
		return false
	}
	for c := range s.server.conns {
		c.readAlarm.sweep(now, c, c.net.SetReadDeadline)
		c.writeAlarm.sweep(now, c, c.net.SetWriteDeadline)
		if since := c.waiting.Load(); since > 0 && now-since > int64(s.server.config.Times.Gone+s.interval) { // since may be too early, as the clock is late
			c.startWatch(since)
		}
	}
	return true
}

// rung is the value of an alarm that has interrupted its operation.
const rung = -1

// past is a deadline that interrupts an operation.
var past = time.Unix(1, 0)

// alarm is until when an operation may wait, by the sweeper's clock; 0 is no operation.
type alarm struct{ at atomic.Int64 }

// set allows an operation d from now on. The clock is late by up to an interval, so an operation has up to two intervals more.
func (a *alarm) set(s *sweeper, d time.Duration) {
	a.at.Store(s.now.Load() + int64(d) + int64(s.interval))
}

// clear ends an operation. If it was late, the deadline that interrupted it is removed: the sweeper sets it under the connection's mutex.
func (a *alarm) clear(c *conn, deadline func(time.Time) error) {
	if a.at.Swap(0) != rung {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = deadline(time.Time{}) // on an error the connection is closed
}

func (a *alarm) sweep(now int64, c *conn, deadline func(time.Time) error) {
	at := a.at.Load()
	if at <= 0 || at > now {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.at.CompareAndSwap(at, rung) {
		_ = deadline(past) // on an error the connection is closed
	}
}
