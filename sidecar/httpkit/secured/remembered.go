package secured

import "crypto/sha256"

// remembered is a text that was computed from a session, by its user.
type remembered struct {
	by   any
	text string
}

// Certificate returns the SHA-256 of the client's certificate (DER), as cnf.x5t#S256 of a token has it (RFC 8705 §3.1); ok is false if the client has
// none. The handshake has verified it.
func (s *Session) Certificate() (sum [sha256.Size]byte, ok bool) {
	if s == nil || len(s.PeerCertificates) == 0 {
		return sum, false
	}
	known := s.certificate.Load()
	if known == nil {
		sum = sha256.Sum256(s.PeerCertificates[0].Raw)
		known = &sum
		s.certificate.Store(known)
	}
	return *known, true
}

// Remember returns what compute returned for the same user last. It holds one text for each session, because most connections have one user.
func (s *Session) Remember(by any, compute func() string) string {
	if r := s.text.Load(); r != nil && r.by == by {
		return r.text
	}
	r := &remembered{by: by, text: compute()}
	s.text.Store(r)
	return r.text
}
