// Package secured holds what a TLS handshake agreed on, for the requests of the connection.
package secured

import (
	"crypto/sha256"
	"crypto/tls"
	"sync/atomic"
)

// Session is the TLS session of a connection. PeerCertificates are those of the client, which the handshake verified. It is safe for concurrent use.
type Session struct {
	tls.ConnectionState
	judgement atomic.Value
	// certificate is the hash of the client's certificate, and text what Remember holds.
	certificate atomic.Pointer[[sha256.Size]byte]
	text        atomic.Pointer[remembered]
}

// Judgement returns what Judge has stored; nil for nothing.
func (s *Session) Judgement() any { return s.judgement.Load() }

// Judge stores the latest judgement of the client's certificate, so that not every request verifies it. All judgements have the same type.
func (s *Session) Judge(judgement any) { s.judgement.Store(judgement) }
