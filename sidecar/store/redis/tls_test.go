package redis

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// newClientTLS returns a configuration with a client certificate that the server accepts and that a test can rotate.
func newClientTLS(s *redistest.Server) *TLSConfig {
	certificate, key := s.ClientCertificate()
	return &TLSConfig{CABundle: s.CABundle, Certificate: newPassword(string(certificate)), Key: newPassword(string(key))}
}

// show replaces the certificate and its key.
func (t *TLSConfig) show(certificate, key []byte) {
	t.Key.(*password).value.Store(string(key))
	t.Certificate.(*password).value.Store(string(certificate))
}

func TestClientCertificateIsRotated(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Options{TLS: true, ClientTLS: true})
	foreign := redistest.Start(t, redistest.Options{TLS: true})
	c := standalone(s)
	c.TLS = newClientTLS(s)
	conn := openUp(t, c)
	c.TLS.show(foreign.ClientCertificate())
	s.Do("CLIENT", "KILL", "SKIPME", "yes", "TYPE", "normal")
	redistest.Eventually(t, "the new certificate, of another authority, to be refused", func() bool { return !conn.Status().Up })
	c.TLS.show(s.ClientCertificate())
	redistest.Eventually(t, "a valid certificate to be accepted", func() bool { return conn.Status().Up })
	if n, err := incr(t.Context(), conn, "k"); n != 1 || err != nil {
		t.Errorf("INCR = %d, %v; want 1", n, err)
	}
}

func TestClientCertificateRefused(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Options{TLS: true, ClientTLS: true})
	foreign := redistest.Start(t, redistest.Options{TLS: true})
	certificate, key := s.ClientCertificate()
	_, otherKey := s.ClientCertificate()
	quoted := []byte("-----BEGIN s3cret-----\nAAAA\n-----END s3cret-----\n")
	tests := map[string]struct {
		change  func(*TLSConfig)
		wantErr string
	}{
		"none":                   {func(c *TLSConfig) { c.Certificate, c.Key = nil, nil }, "remote error: tls: "},
		"another authority":      {func(c *TLSConfig) { c.show(foreign.ClientCertificate()) }, "remote error: tls: "},
		"another key":            {func(c *TLSConfig) { c.show(certificate, otherKey) }, "do not belong together"},
		"invalid key":            {func(c *TLSConfig) { c.show(certificate, quoted) }, "not PEM"},
		"no certificate":         {func(c *TLSConfig) { c.show([]byte("s3cret"), key) }, "not PEM"},
		"unreadable certificate": {func(c *TLSConfig) { c.show(nil, key) }, "client certificate for Redis: reading secret"},
		"unreadable key":         {func(c *TLSConfig) { c.show(certificate, nil) }, "client key for Redis: reading secret"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log logtest.Buffer
			c := standalone(s)
			c.TLS = newClientTLS(s)
			tt.change(c.TLS)
			conn, err := Open(c, newMetrics(t), slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			redistest.Eventually(t, "the breaker to open", func() bool { return conn.openGuards() > 0 && log.String() != "" })
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if text := log.String(); !strings.Contains(text, tt.wantErr) || strings.Contains(text, "s3cret") || strings.Contains(text, "BEGIN") {
				t.Errorf("the log does not say %q, or says too much: %s", tt.wantErr, text)
			}
		})
	}
}
