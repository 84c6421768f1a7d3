package upstream

import (
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// rude is an app that reads a little and closes the connection without a response.
func rude(t *testing.T) string {
	t.Helper()
	return connApp(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, "no protocol at all\r\n\r\n")
	})
}

// TestAppFailuresAreTheApps: if the app fails while the client still sends, the transport closes the client's body. Reading it then
// fails, which is not a fault of the client: the response is not a 400.
func TestAppFailuresAreTheApps(t *testing.T) {
	d := open(t, rude(t), nil)
	for range 50 {
		body, sending := io.Pipe()
		go func() { _, _ = sending.Write([]byte("hello")) }()
		r := request1(t, "POST", "http://"+d.addr+"/", body)
		r.Header.Set("Content-Type", "application/grpc")
		res, err := client(t, 2).Do(r)
		_ = sending.Close()
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		var refusal *httperr.Error
		if err := wait(t, d.errs, "the result"); !errors.As(err, &refusal) || refusal.Status != http.StatusBadGateway {
			t.Fatalf("%v; want a 502", err)
		}
		if res.Header.Get("Grpc-Status") != "14" {
			t.Fatalf("status %d, header %v", res.StatusCode, res.Header)
		}
	}
}
