package listen

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	http1 "github.com/posterndev/postern/sidecar/conn/http1/server"
)

// endingTLS returns a Handshake with a certificate of httptest, for both versions of HTTP, and the settings of a client.
func endingTLS(t *testing.T) (Handshake, *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	config := &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}
	client := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	client.ServerName = "example.com"
	return func(ctx context.Context, conn net.Conn, _ netip.AddrPort) (net.Conn, string, error) {
		above := tls.Server(conn, config)
		if err := above.HandshakeContext(ctx); err != nil {
			return nil, "", err
		}
		return above, above.ConnectionState().NegotiatedProtocol, nil
	}, client
}

// serveHTTP serves h's connections as the sidecar does, above the framing filter, and responds with what it sees of a request.
func serveHTTP(t *testing.T, h *harness) {
	t.Helper()
	h.decision.Store(uint32(HTTP))
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := Local(http1.From(r.Context()))
		fmt.Fprintf(w, "%s %v %s", r.Proto, r.TLS != nil, local)
	})
	server, err := http1.New(http1.Config{Handler: handler, HTTP2: &http.Server{Protocols: protocols, ConnContext: http1.ConnContext, Handler: http1.WithTLS(handler)}})
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(h.HTTP())
	t.Cleanup(func() { server.Close() })
}

func TestHandshake(t *testing.T) {
	handshake, settings := endingTLS(t)
	h := start(t, 0)
	h.config.Handshake = handshake
	serveHTTP(t, h)
	addr := h.plain(t)
	tests := map[string]struct {
		offers []string
		// sent is after the handshake.
		sent string
		want string
	}{
		"HTTP/1.1":                      {offers: []string{"http/1.1"}, sent: "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", want: "HTTP/1.1 200 OK"},
		"no protocol is offered":        {sent: "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", want: "HTTP/1.1 200 OK"},
		"framing is inspected":          {offers: []string{"http/1.1"}, sent: "GET / HTTP/1.1\nHost: x\n\n", want: "HTTP/1.1 400 Bad Request"},
		"another version than agreed":   {offers: []string{"http/1.1"}, sent: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", want: "HTTP/1.1 505 HTTP Version Not Supported"},
		"another version than agreed 2": {offers: []string{"h2"}, sent: "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", want: "HTTP/1.1 400 Bad Request"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			offer := settings.Clone()
			offer.NextProtos = tt.offers
			conn := tls.Client(dial(t, addr), offer)
			if _, err := io.WriteString(conn, tt.sent); err != nil {
				t.Fatal(err)
			}
			line, _, _ := bufio.NewReader(conn).ReadLine()
			if string(line) != tt.want {
				t.Errorf("%q; want %q", line, tt.want)
			}
		})
	}
}

// TestHTTPAboveTLS: a request above TLS equals one without TLS, and no code there depends on TLS.
func TestHTTPAboveTLS(t *testing.T) {
	handshake, settings := endingTLS(t)
	h := start(t, 0)
	h.config.Handshake = handshake
	serveHTTP(t, h)
	addr := h.plain(t)
	for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		protocols := &http.Protocols{}
		protocols.SetHTTP1(!http2)
		protocols.SetHTTP2(http2)
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: settings.Clone(), Protocols: protocols}, Timeout: waitLimit}
		response, err := client.Get("https://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		client.CloseIdleConnections()
		if want := proto + " true " + addr; string(body) != want {
			t.Errorf("the handler saw %s; want %s", body, want)
		}
	}
}

// TestFailedHandshakes: a client that does not finish the handshake is refused, and frees the only place for the next one.
func TestFailedHandshakes(t *testing.T) {
	handshake, _ := endingTLS(t)
	h := start(t, 1)
	h.config.Handshake, h.handshakeTime = handshake, 50*time.Millisecond
	serveHTTP(t, h)
	addr := h.plain(t)
	for name, sent := range map[string]string{"no TLS": "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "silence": ""} {
		conn := dial(t, addr)
		_, _ = io.WriteString(conn, sent)
		_, _ = io.Copy(io.Discard, conn) // until the connection ends
		if why := receive(t, h.refusals); why != Unagreed {
			t.Errorf("%s: refused as %q", name, why)
		}
	}
}
