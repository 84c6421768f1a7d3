package request

import (
	"sync/atomic"
	"time"
)

// Timing adds up the time of a request in which the sidecar itself does not work. A copy of a response may flush in a goroutine of its own, so
// all methods are safe for concurrent use. The zero value is ready; nil keeps nothing.
type Timing struct {
	app, client, delayed atomic.Int64
	asked                atomic.Bool
}

// App adds the time of a wait for the app: for the response's header, which includes sending the request with its body, or for a part of the
// response's body.
func (t *Timing) App(since time.Time) {
	if t != nil {
		t.app.Add(int64(time.Since(since)))
	}
}

// Asked says that the request is sent to the app. From then on its body is read beside the wait for the app.
func (t *Timing) Asked() {
	if t != nil {
		t.asked.Store(true)
	}
}

// ReadClient adds the time of a read of the client's body, if the app was not asked yet: otherwise the read is part of the wait for the app, or
// happens beside the response.
func (t *Timing) ReadClient(since time.Time) {
	if t != nil && !t.asked.Load() {
		t.client.Add(int64(time.Since(since)))
	}
}

// WroteClient adds the time of a write to the client.
func (t *Timing) WroteClient(since time.Time) {
	if t != nil {
		t.client.Add(int64(time.Since(since)))
	}
}

// Wrote adds the time d of a write to the client.
func (t *Timing) Wrote(d time.Duration) {
	if t != nil {
		t.client.Add(int64(d))
	}
}

// Sending adds the time d of a write to the client, without what App has added since the app's time was inApp: a body that is passed from the app to the
// client in one call waits for both.
func (t *Timing) Sending(d, inApp time.Duration) {
	if t != nil {
		t.client.Add(int64(d) - (t.app.Load() - int64(inApp)))
	}
}

// Delayed adds the time for which the request was delayed on purpose.
func (t *Timing) Delayed(since time.Time) {
	if t != nil {
		t.delayed.Add(int64(time.Since(since)))
	}
}

// InApp returns the time of the waits for the app, and whether the app was asked.
func (t *Timing) InApp() (time.Duration, bool) { return time.Duration(t.app.Load()), t.asked.Load() }

// Overhead returns what of elapsed, the whole time of the request, the sidecar itself took, with its look-ups in Redis and other services. It is
// never negative: a flush beside a read of the app counts twice.
func (t *Timing) Overhead(elapsed time.Duration) time.Duration {
	return max(0, elapsed-time.Duration(t.app.Load()+t.client.Load()+t.delayed.Load()))
}
