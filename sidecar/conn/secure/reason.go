package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/keys/certificate"
)

// Reason says why a handshake was refused. It is a label of a metric.
type Reason string

// The reasons.
const (
	// Timeout: the client took too long.
	Timeout Reason = "timeout"
	// Closed: the client closed the connection.
	Closed Reason = "closed"
	// Malformed: the bytes are not TLS, or too many.
	Malformed Reason = "malformed"
	// Version: the client offers only versions that are older than the policy's minVersion.
	Version Reason = "version"
	// Cipher: the client offers no cipher suite, curve or signature that is accepted.
	Cipher Reason = "cipher"
	// Protocol: the client offers neither HTTP/2 nor HTTP/1.1 by ALPN.
	Protocol Reason = "protocol"
	// Alert: the client refused, for example because it does not trust the certificate.
	Alert Reason = "alert"
	// Unavailable: the sidecar has no certificate, or no CA to verify clients with.
	Unavailable Reason = "unavailable"
	// NoCertificate: the client has no certificate, and needs one.
	NoCertificate Reason = "no_client_certificate"
	// Expired: the client's certificate is out of date, or not valid yet.
	Expired Reason = "client_certificate_expired"
	// Untrusted: no CA of the policy issued the client's certificate.
	Untrusted Reason = "client_certificate_untrusted"
	// Revoked: the client's certificate was revoked.
	Revoked Reason = "client_certificate_revoked"
	// Unsuitable: the client's certificate is not for clients, or has no identity that the policy accepts.
	Unsuitable Reason = "client_certificate_unsuitable"
	// Other is any other reason.
	Other Reason = "other"
)

// Reasons returns every Reason, for a metric that has each of them from the start.
func Reasons() []Reason {
	return []Reason{Timeout, Closed, Malformed, Version, Cipher, Protocol, Alert, Unavailable, NoCertificate, Expired, Untrusted, Revoked, Unsuitable, Other}
}

// reasonOf returns the reason of a failed handshake.
func (s *Server) reasonOf(b *begun, err error) Reason {
	var record tls.RecordHeaderError
	var remote *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Timeout
	case errors.Is(err, errTooLarge), errors.Is(err, certificate.ErrTooMany), errors.As(err, &record):
		return Malformed
	case errors.Is(err, errNoCertificate), errors.Is(err, certificate.ErrNoTrust):
		return Unavailable
	case errors.As(err, &remote) && remote.Op == "remote error":
		return Alert
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Closed
	}
	if reason := reasonOfPeer(err); reason != "" {
		return reason
	}
	return s.reasonOfHello(b.hello, err)
}

// reasonOfPeer returns the reason if the client's certificate was refused.
func reasonOfPeer(err error) Reason {
	var invalid x509.CertificateInvalidError
	var authority x509.UnknownAuthorityError
	var verification *tls.CertificateVerificationError
	switch {
	case errors.Is(err, certificate.ErrRevoked):
		return Revoked
	case errors.Is(err, certificate.ErrUnsuitable):
		return Unsuitable
	case errors.Is(err, certificate.ErrExpired), errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Expired
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return Unsuitable
	case errors.As(err, &authority), errors.As(err, &verification):
		return Untrusted
	case strings.Contains(err.Error(), "client didn't provide a certificate"): // crypto/tls has no value for it
		return NoCertificate
	}
	return ""
}

// reasonOfHello returns the reason that the client's offer explains. crypto/tls has no values for these errors.
func (s *Server) reasonOfHello(hello *tls.ClientHelloInfo, err error) Reason {
	text := err.Error()
	switch {
	case hello == nil:
		return Malformed
	case !speaks(hello, s.cfg.MinVersion):
		return Version
	case strings.Contains(text, "requested unsupported application protocols"):
		return Protocol
	case !speaks(hello, tls.VersionTLS13) && !slices.ContainsFunc(hello.CipherSuites, func(id uint16) bool { return slices.Contains(suites(), id) }):
		return Cipher
	case strings.Contains(text, "no cipher suite supported"), strings.Contains(text, "no ECDHE curve"), strings.Contains(text, "no key exchanges"),
		strings.Contains(text, "signature"), strings.Contains(text, "support none"):
		return Cipher
	}
	return Other
}

// Metrics count handshakes. The nil Metrics counts nothing.
type Metrics struct{ refusals, connections *prometheus.CounterVec }

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_tls_handshakes_refused_total", Help: "TLS handshakes that failed, by reason.",
		}, []string{"reason"}),
		connections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_tls_connections_total", Help: "Connections to ports with TLS, by version; plain for those without TLS.",
		}, []string{"version"}),
	}
	for _, reason := range Reasons() {
		m.refusals.WithLabelValues(string(reason))
	}
	for _, version := range []uint16{0, tls.VersionTLS12, tls.VersionTLS13} {
		m.connections.WithLabelValues(versionLabel(version))
	}
	for _, c := range []prometheus.Collector{m.refusals, m.connections} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering TLS metrics: %w", err)
		}
	}
	return m, nil
}

func versionLabel(version uint16) string {
	switch version {
	case tls.VersionTLS12:
		return "1.2"
	case tls.VersionTLS13:
		return "1.3"
	}
	return "plain"
}

func (m *Metrics) refused(reason Reason) {
	if m != nil {
		m.refusals.WithLabelValues(string(reason)).Inc()
	}
}

func (m *Metrics) accepted(version uint16) {
	if m != nil {
		m.connections.WithLabelValues(versionLabel(version)).Inc()
	}
}
