package chain

import (
	"net"
	"net/http"
	"testing"

	http1 "github.com/posterndev/postern/sidecar/conn/http1/server"
)

// front serves handler as the sidecar's process does, in HTTP/1.1 and HTTP/2, and returns its address.
func front(t testing.TB, handler http.Handler) string {
	t.Helper()
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	server, err := http1.New(http1.Config{Handler: handler, HTTP2: &http.Server{Handler: handler, Protocols: protocols, ConnContext: http1.ConnContext}, Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return listener.Addr().String()
}
