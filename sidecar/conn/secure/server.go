// Package secure is TLS at the sidecar's listeners: the handshake with clients, the certificates that they see, session tickets, and the
// verification of their certificates. A certificate, CA or revocation list that changes holds for the next handshake, and no connection is
// closed for it.
package secure

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/sidecar/keys/certificate"
)

// Config configures a Server. Certificates and Tickets are required.
type Config struct {
	// Certificates are in the order of preference. The first is for clients whose server name no certificate has.
	Certificates []certificate.Held
	// MinVersion is tls.VersionTLS12 or tls.VersionTLS13; the former if it is 0.
	MinVersion uint16
	// Clients verifies the certificates of clients; nil to ask for none.
	Clients *certificate.Clients
	// Tickets are the keys of session tickets. Scope separates those of policies that have a certificate in common.
	Tickets *Tickets
	Scope   string
	// Metrics may be nil. Now is time.Now if nil.
	Metrics *Metrics
	Now     func() time.Time
}

// Server performs the handshakes of one policy. It is safe for concurrent use.
type Server struct {
	cfg Config
	// entry is what every handshake begins with. choose returns the rest of the settings.
	entry  *tls.Config
	active atomic.Pointer[settings]
	mu     sync.Mutex // held while settings are built
}

// settings are what the next handshakes use. They are immutable, except for the ticket keys inside.
type settings struct {
	certificates []*certificate.Certificate
	trust        certificate.Trust
	epoch        int64
	// modern is for clients that speak TLS 1.3, and legacy for the others.
	modern, legacy *tls.Config
}

// New returns a Server.
func New(cfg Config) (*Server, error) {
	if len(cfg.Certificates) == 0 || cfg.Tickets == nil {
		return nil, errors.New("setting up TLS: certificates and tickets are required")
	}
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	if cfg.MinVersion < tls.VersionTLS12 {
		return nil, fmt.Errorf("setting up TLS: version %s is not secure", tls.VersionName(cfg.MinVersion))
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{cfg: cfg}
	s.entry = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: s.choose, Time: cfg.Now}
	return s, nil
}

// suites are those of TLS 1.2: ECDHE, so that a stolen key decrypts no recorded connection, with authenticated encryption (RFC 9325 §4.2). Those of
// TLS 1.3 are all like that.
func suites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// errNoCertificate is the error of a handshake while no certificate is available.
var errNoCertificate = errors.New("no certificate is available")

// choose is tls.Config.GetConfigForClient.
func (s *Server) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if b, ok := hello.Conn.(*begun); ok {
		b.hello = hello
	}
	current, err := s.settings()
	if err != nil {
		return nil, err
	}
	if speaks(hello, tls.VersionTLS13) {
		return current.modern, nil
	}
	return current.legacy, nil
}

// speaks reports whether the client offers a version, or a later one.
func speaks(hello *tls.ClientHelloInfo, version uint16) bool {
	for _, v := range hello.SupportedVersions {
		if v >= version && v <= tls.VersionTLS13 { // others are GREASE (RFC 8701), or of the future
			return true
		}
	}
	return false
}

// settings returns the current settings. It builds them again if a certificate, the CAs or the ticket keys have changed.
func (s *Server) settings() (*settings, error) {
	if current := s.active.Load(); current != nil && s.fresh(current) {
		return current, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if current := s.active.Load(); current != nil && s.fresh(current) {
		return current, nil
	}
	next, err := s.build()
	if err != nil {
		return nil, err
	}
	s.active.Store(next)
	return next, nil
}

func (s *Server) fresh(current *settings) bool {
	if current.epoch != epochOf(s.cfg.Now()) || s.cfg.Clients.Trust() != current.trust {
		return false
	}
	for i, held := range s.cfg.Certificates {
		if c, _ := held.Current(); c != current.certificates[i] {
			return false
		}
	}
	return true
}

func (s *Server) build() (*settings, error) {
	now := s.cfg.Now()
	next := &settings{epoch: epochOf(now), trust: s.cfg.Clients.Trust()}
	base := &tls.Config{
		MinVersion: s.cfg.MinVersion, CipherSuites: suites(), NextProtos: []string{"h2", "http/1.1"}, Time: s.cfg.Now, Renegotiation: tls.RenegotiateNever,
	}
	var first certificate.Held
	var seed *certificate.Certificate
	var missing error
	for _, held := range s.cfg.Certificates {
		c, err := held.Current()
		next.certificates = append(next.certificates, c)
		if err != nil {
			missing = errors.Join(missing, err)
			continue
		}
		if first == nil {
			first, seed = held, c
		}
		base.Certificates = append(base.Certificates, c.Certificate)
	}
	if first == nil {
		return nil, fmt.Errorf("%w: %w", errNoCertificate, missing)
	}
	if err := s.cfg.Clients.Apply(base, next.trust); err != nil {
		return nil, err
	}
	next.modern, next.legacy = base, base.Clone()
	return next, s.setTickets(next, first, seed, now)
}

// setTickets sets the keys of session tickets. There are none if clients have certificates: a ticket would then be a credential that needs
// no private key. docs/design/0033-session-tickets.md says why the two versions differ.
func (s *Server) setTickets(next *settings, first certificate.Held, c *certificate.Certificate, now time.Time) error {
	if s.cfg.Clients != nil {
		next.modern.SessionTicketsDisabled, next.legacy.SessionTicketsDisabled = true, true
		return nil
	}
	local, err := s.cfg.Tickets.local(s.cfg.Scope, now)
	if err != nil {
		return err
	}
	next.legacy.SetSessionTicketKeys(local)
	if !first.Shared() {
		next.modern.SetSessionTicketKeys(local)
		return nil
	}
	shared, err := sharedKeys(c.TicketSeed(), s.cfg.Scope, now)
	if err != nil {
		return err
	}
	next.modern.SetSessionTicketKeys(shared)
	return nil
}
