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

// alertWait bounds the look for an alert on a connection that is lost; one that came lies there already.
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

// read takes the pair that is in force now. It looks twice, for a rotation may fall between the one half and the other.
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
	return nil, errors.New("reading the client certificate for Redis: it and its key are not PEM, or do not belong together")
}

// telling is a TLS connection that says why it ended. In TLS 1.3 a server judges the client's certificate after the client
// has finished the handshake (RFC 8446 section 4.4.2.4): its alert lies unread where the first write fails already.
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
