package secure

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/certificate"
)

// appOf accepts one connection, performs the handshake with config, and passes it to serve.
func appOf(t *testing.T, config *tls.Config, serve func(*tls.Conn)) *net.TCPConn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(waitLimit))
		above := tls.Server(conn, config)
		if above.Handshake() == nil {
			serve(above)
		}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(waitLimit))
	return conn.(*net.TCPConn)
}

// upstream trusts the authority, for its name localhost.
func (w *world) upstream() (*Upstream, *tls.Config) {
	w.t.Helper()
	own, err := tls.X509KeyPair(w.authority.Certificate, w.authority.Key)
	if err != nil {
		w.t.Fatal(err)
	}
	return &Upstream{Authorities: &file[certificate.Authorities]{f: parsed(w.t, certificate.ParseAuthorities, w.authority.Certificate, nil)}, ServerName: "localhost"},
		&tls.Config{Certificates: []tls.Certificate{own}}
}

// TestUpstream: which apps are connected to.
func TestUpstream(t *testing.T) {
	tests := map[string]struct {
		change func(*Upstream, *tls.Config)
		http2  bool
		// wantErr is a part of the error; empty if there is none.
		wantErr string
	}{
		"HTTP/1.1":          {},
		"HTTP/2":            {change: func(_ *Upstream, c *tls.Config) { c.NextProtos = []string{"h2"} }, http2: true},
		"HTTP/1.1, by ALPN": {change: func(_ *Upstream, c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }},
		"another protocol":  {change: func(_ *Upstream, c *tls.Config) { c.NextProtos = []string{"imap"} }, wantErr: "no application protocol"},
		"no HTTP/2":         {http2: true, wantErr: "does not speak HTTP/2"},
		"another name":      {change: func(u *Upstream, _ *tls.Config) { u.ServerName = "orders" }, wantErr: "not orders"},
		"TLS 1.1":           {change: func(_ *Upstream, c *tls.Config) { c.MaxVersion = tls.VersionTLS11; c.MinVersion = tls.VersionTLS10 }, wantErr: "protocol version"},
		"no CAs":            {change: func(u *Upstream, _ *tls.Config) { u.Authorities = &file[certificate.Authorities]{} }, wantErr: "absent"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			u, config := newWorld(t).upstream()
			if tt.change != nil {
				tt.change(u, config)
			}
			conn, err := u.Over(t.Context(), appOf(t, config, func(*tls.Conn) {}), tt.http2)
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("%v; want %q", err, tt.wantErr)
			}
			if err == nil {
				conn.Close()
			}
		})
	}
}

// TestSilent: bytes that the app has sent without a request are noticed also if they were decrypted together with a response.
func TestSilent(t *testing.T) {
	for name, tt := range map[string]struct {
		sent string
		want bool
	}{"a response": {"response", true}, "a response and more": {"responsemore", false}} {
		t.Run(name, func(t *testing.T) {
			u, config := newWorld(t).upstream()
			proceed := make(chan struct{})
			conn, err := u.Over(t.Context(), appOf(t, config, func(c *tls.Conn) {
				_, _ = io.WriteString(c, tt.sent)
				<-proceed
				_, _ = io.WriteString(c, "next")
			}), false)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, len("response"))
			if _, err := io.ReadFull(conn, b); err != nil || string(b) != "response" {
				t.Fatalf("%q, %v", b, err)
			}
			if got := conn.(*appConn).silent(); got != tt.want {
				t.Errorf("silent: %t", got)
			}
			close(proceed)
			if !tt.want {
				return
			}
			_ = conn.SetReadDeadline(time.Now().Add(waitLimit))
			if _, err := io.ReadFull(conn, b[:4]); err != nil || string(b[:4]) != "next" {
				t.Errorf("after it was asked: %q, %v", b[:4], err)
			}
		})
	}
}
