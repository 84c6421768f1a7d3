package redistest

import (
	"testing"
	"time"

	"github.com/posterndev/postern/test/servertest"
)

// SlowLink listens on a loopback port and forwards to addr. It delays each chunk of bytes sent to the server. It stops at the
// end of the test.
func SlowLink(tb testing.TB, addr string, delay time.Duration) string {
	tb.Helper()
	link := servertest.NewLink(tb, addr)
	link.Slow(delay)
	return link.Addr
}
