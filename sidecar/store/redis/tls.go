package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// alertWait bounds the read for an alert on a failed connection. An alert that has arrived is read at once.
const alertWait = 10 * time.Millisecond

// client returns the settings for crypto/tls, or nil for plain TCP.
func (t *TLSConfig) client() (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	c := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.Certificate != nil {
		p := pair{certificate: t.Certificate, key: t.Key}
		c.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.read(r.Context()) }
	}
	var err error
	c.RootCAs, err = check.Certificates(t.CABundle)
	return c, err
}

// pair is a client certificate and its key.
type pair struct{ certificate, key secret.Source }

// read returns the current pair. It tries twice, because a rotation may happen between reading the two halves.
func (p pair) read(ctx context.Context) (*tls.Certificate, error) {
	for range 2 {
		certificate, err := p.certificate.Read(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the client certificate for Redis: %w", err)
		}
		key, err := p.key.Read(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the client key for Redis: %w", err)
		}
		if parsed, err := tls.X509KeyPair(certificate.Reveal(), key.Reveal()); err == nil {
			return &parsed, nil
		}
	}
	// The cause may quote what was read.
	return nil, errors.New("reading the client certificate for Redis: certificate or key are not PEM, or they do not belong together")
}

// telling is a TLS connection whose Write returns the server's alert as the error. In TLS 1.3 the server checks the client
// certificate after the client's handshake is complete (RFC 8446 section 4.4.2.4). Then the first write fails while the alert is
// still unread.
type telling struct{ net.Conn }

// Write implements net.Conn.
func (c telling) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil {
		return n, nil
	}
	var alert *net.OpError
	_ = c.SetReadDeadline(time.Now().Add(alertWait))
	if _, cause := c.Read(make([]byte, 1)); errors.As(cause, &alert) && alert.Op == "remote error" {
		return n, cause
	}
	return n, err
}
