// Package pace bounds how long a server waits for a body that must arrive at a minimum rate.
package pace

import "time"

// Pace is the time that the server still waits for a body, as the RequestReadTimeout of Apache's mod_reqtimeout. Only waiting counts:
// while the app does not take the bytes, the client loses nothing. The zero value has no minimum.
type Pace struct {
	// rate is in bytes per second.
	rate         int
	window, left time.Duration
}

// New returns the pace of a body that must arrive at rate, in bytes per second. 0 is no minimum. window is how long the server waits without a byte; bytes
// earn time, and never more than this.
func New(rate int, window time.Duration) Pace {
	return Pace{rate: max(rate, 0), window: window, left: window}
}

// Limits reports whether there is a minimum.
func (p *Pace) Limits() bool { return p.rate > 0 }

// Wait returns how long the next read may take, at most most.
func (p *Pace) Wait(most time.Duration) time.Duration {
	if p.rate == 0 {
		return most
	}
	return min(most, max(p.left, 0))
}

// Spend records that n bytes arrived after waiting.
func (p *Pace) Spend(waited time.Duration, n int) {
	if p.rate > 0 {
		// A read returns at most some megabytes, so the product does not overflow.
		p.left = min(p.window, p.left-waited+time.Duration(n)*time.Second/time.Duration(p.rate))
	}
}
