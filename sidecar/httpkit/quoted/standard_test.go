package quoted

import (
	"bufio"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/logtest"
)

// TestStandardLog: net/http writes what a server sends after its response to the standard log of Go, with up to 4 KiB of it.
func TestStandardLog(t *testing.T) {
	logs := &logtest.Buffer{}
	flags := log.Flags()
	defer func() { log.SetOutput(os.Stderr); log.SetFlags(flags) }()
	StandardLog(slog.New(slog.NewJSONHandler(logs, nil)))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{\"token\":\"hunter2\"}\n")
		}
	}()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	res, err := client.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(logs.String(), "Unsolicited response"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log has no line: %q", logs.String())
		}
	}
	if got := logs.String(); strings.Contains(got, "hunter2") || !strings.Contains(got, `"level":"WARN"`) || strings.Count(got, "\n") != 1 {
		t.Errorf("%q", got)
	}
}
