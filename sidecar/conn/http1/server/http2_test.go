package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/posterndev/postern/sidecar/conn/framing/h2"
)

// TestHTTP2OverTLS: after a handshake that agreed on h2, a request that net/http would refuse gets to the handler with its refusal, and
// the next request on the same connection is served.
func TestHTTP2OverTLS(t *testing.T) {
	certified := httptest.NewTLSServer(nil)
	certified.Close()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			t.Error("the request has no TLS state")
		}
		if r, refusal := h2.Refused(r); refusal != nil {
			io.WriteString(w, "refused "+r.Method+" "+r.URL.Path+" "+string(refusal.Code))
			return
		}
		io.WriteString(w, "served "+r.URL.Path)
	})
	http2Server := second()
	http2Server.Handler = WithTLS(handler)
	server, err := New(Config{Handler: handler, HTTP2: http2Server})
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: certified.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}
	go server.Serve(agreeing{inner, config})
	t.Cleanup(func() { server.Close() })

	conn, err := tls.Dial("tcp", inner.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.WriteSettings()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i, path := range []string{"/a%zz?b", "/good"} {
		block.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", path}} {
			encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), EndStream: true, EndHeaders: true, BlockFragment: block.Bytes()})
	}
	bodies := map[uint32]string{}
	for len(bodies) < 2 {
		f, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := f.(*http2.DataFrame); ok && len(d.Data()) > 0 {
			bodies[d.StreamID] = string(d.Data())
		}
	}
	if bodies[1] != "refused GET /a%zz bad-path" || bodies[3] != "served /good" {
		t.Errorf("%v", bodies)
	}
}

// agreeing performs handshakes, and its connections say what they agreed on.
type agreeing struct {
	net.Listener
	config *tls.Config
}

func (a agreeing) Accept() (net.Conn, error) {
	conn, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := tls.Server(conn, a.config)
	return agreed{c}, c.HandshakeContext(context.Background())
}

type agreed struct{ *tls.Conn }

func (a agreed) NegotiatedProtocol() string { return a.Conn.ConnectionState().NegotiatedProtocol }

// BenchmarkHTTP2 is the cost of a request of a browser on one HTTP/2 connection, client and server together.
func BenchmarkHTTP2(b *testing.B) {
	for name, inspect := range map[string]bool{"inspected": true, "plain": false} {
		b.Run(name, func(b *testing.B) {
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			direct := second()
			direct.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
			server, err := New(Config{Handler: direct.Handler, HTTP2: direct})
			if err != nil {
				b.Fatal(err)
			}
			if inspect {
				go server.Serve(inner)
			} else {
				go direct.Serve(inner)
			}
			defer inner.Close()
			defer server.Close()
			client := &http.Transport{Protocols: direct.Protocols}
			defer client.CloseIdleConnections()
			r, _ := http.NewRequest(http.MethodGet, "http://"+inner.Addr().String()+"/orders/1234?view=full", nil)
			for line := range strings.Lines(browser) {
				if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && name != "Host" && name != "Connection" {
					r.Header.Set(name, value)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				resp, err := client.RoundTrip(r)
				if err != nil {
					b.Fatal(err)
				}
				resp.Body.Close()
			}
		})
	}
}
