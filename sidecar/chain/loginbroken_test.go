package chain

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
)

// TestBrokenOffLogins: an app that breaks off, before or after its header, may have checked the password. Each such attempt is a failure.
func TestBrokenOffLogins(t *testing.T) { overBoth(t, brokenOffLogins) }

func brokenOffLogins(t *testing.T, over func(*logins) *logins) {
	t.Helper()
	apps := map[string]string{
		"without a response":  "",
		"in the header":       "HTTP/1.1 401 Unautho",
		"with nonsense":       "SSH-2.0-OpenSSH_9.6\r\n",
		"in the body":         "HTTP/1.1 401 Unauthorized\r\nContent-Length: 99\r\n\r\nwrong",
		"in a chunk":          "HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nwrong",
		"after early hints":   "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n",
		"with a large header": "HTTP/1.1 401 Unauthorized\r\nX-Large: " + string(make([]byte, 2<<20)),
	}
	for name, text := range apps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			l := over(loginsBefore(t, unprobed(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				n.Add(1)
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return
				}
				_, _ = io.WriteString(conn, text)
				_ = conn.Close()
			}), nil))
			for i := range 12 {
				_, _ = l.replicas[0].try(sent{method: "POST", path: "/login", body: `{"email":"ada@example.com"}`, header: http.Header{
					"Content-Type": {"application/json"}, "X-Forwarded-For": {fmt.Sprintf("203.0.113.%d", i)},
				}})
			}
			if n.Load() != 5 {
				t.Errorf("%d attempts reached the app; want 5", n.Load())
			}
		})
	}
}

// TestUnreachableApps: an attempt that did not reach the app is no failure.
func TestUnreachableApps(t *testing.T) {
	t.Parallel()
	l := loginsBefore(t, func(http.ResponseWriter, *http.Request) {}, nil)
	l.replicas[0].world.app.Close()
	for i := range 12 {
		if g := l.attempt(fmt.Sprintf("203.0.113.%d", i), "ada@example.com", "guess"); g.status != http.StatusBadGateway {
			t.Fatalf("attempt %d: %d %s", i, g.status, g.text)
		}
	}
	if n := attempts(t, l, "neutral"); n != 12 {
		t.Errorf("%v attempts are neither a failure nor a success; want 12", n)
	}
}
