package upstream

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// TestTimeInTheApp: the waits for the header and for the body count as the app's time.
func TestTimeInTheApp(t *testing.T) {
	const pause = 30 * time.Millisecond
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(pause)
		_ = http.NewResponseController(w).Flush()
		time.Sleep(pause)
		_, _ = io.WriteString(w, "late")
	}))
	defer app.Close()
	p, err := New(Config{Target: func(netip.AddrPort) string { return strings.TrimPrefix(app.URL, "http://") }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	timing := &request.Timing{}
	r := request.With(httptest.NewRequest("GET", "/", nil), &request.Info{Timing: timing})
	began := time.Now()
	if err := p.ServeHTTP(httptest.NewRecorder(), r); err != nil {
		t.Fatal(err)
	}
	elapsed := time.Since(began)
	if d, asked := timing.InApp(); d < 2*pause || d > elapsed || !asked {
		t.Errorf("in the app %s of %s, asked %t", d, elapsed, asked)
	}
}
