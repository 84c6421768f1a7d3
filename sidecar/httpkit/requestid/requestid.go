// Package requestid makes the ids of requests, or keeps those that came with them.
package requestid

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Source says whose ids are kept.
type Source string

// Values of Source.
const (
	Never          Source = "Never"
	TrustedProxies Source = "TrustedProxies"
	Always         Source = "Always"
)

// MaxLength bounds an id that is kept, in bytes.
const MaxLength = 128

// Config configures IDs.
type Config struct {
	// Header is the field of the request and of the response that has the id.
	Header string
	Keep   Source
	// Trusted reports whether the peer of a request is a trusted proxy. It is required if Keep is TrustedProxies.
	Trusted func(*http.Request) bool
}

// IDs gives ids to requests. It is immutable and safe for concurrent use.
type IDs struct {
	cfg Config
}

// New returns IDs, or an error that names the invalid setting.
func New(c Config) (*IDs, error) {
	c.Header = http.CanonicalHeaderKey(c.Header)
	switch {
	case c.Header == "":
		return nil, fmt.Errorf("building request ids: Header is required")
	case c.Keep != Never && c.Keep != TrustedProxies && c.Keep != Always:
		return nil, fmt.Errorf("building request ids: Keep %.20q is not Never, TrustedProxies or Always", c.Keep)
	case c.Keep == TrustedProxies && c.Trusted == nil:
		return nil, fmt.Errorf("building request ids: Trusted is required to keep the ids of trusted proxies")
	}
	return &IDs{cfg: c}, nil
}

// Header returns the canonical name of the field.
func (i *IDs) Header() string { return i.cfg.Header }

// Of returns the id that r came with, if it is kept, or else a new one of the time now. Several ids are none.
func (i *IDs) Of(r *http.Request, now time.Time) string {
	if sent := r.Header[i.cfg.Header]; len(sent) == 1 && valid(sent[0]) && i.keeps(r) {
		return strings.Clone(sent[0])
	}
	return Make(now)
}

func (i *IDs) keeps(r *http.Request) bool {
	return i.cfg.Keep == Always || i.cfg.Keep == TrustedProxies && i.cfg.Trusted(r)
}

// valid reports whether an id can be in a log, in JSON, in HTML and in a header without being quoted. The characters are those of
// UUIDs, ULIDs, base64, W3C trace contexts, and the ids of common proxies and frameworks.
func valid(id string) bool {
	if id == "" || len(id) > MaxLength {
		return false
	}
	for n := range len(id) {
		switch c := id[n]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-._~:/+=@;|", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// Make returns a UUID of version 7 (RFC 9562 §5.7): it begins with the time, so that ids sort by time.
func Make(now time.Time) string {
	var b [16]byte
	_, _ = rand.Read(b[6:]) // never fails
	binary.BigEndian.PutUint16(b[0:], uint16(now.UnixMilli()>>32))
	binary.BigEndian.PutUint32(b[2:], uint32(now.UnixMilli()))
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[0:8], b[0:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:36], b[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
