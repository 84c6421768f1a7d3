package ratelimit

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// KeyType is what a part of a key is made of.
type KeyType string

// The key parts, as the policy spells them.
const (
	// ClientAddress is the client's IPv4 address, or the /64 network of its IPv6 address, all of which one client has.
	ClientAddress KeyType = "ClientAddress"
	// Subject is the identity's subject together with its issuer.
	Subject KeyType = "Subject"
	// Claim is the value of the claim Name, together with its issuer: a claim means what its issuer says.
	Claim KeyType = "Claim"
	// Header is the value of the request's header field Name, all its lines together.
	Header KeyType = "Header"
	// Route is the rule's own set of routes: it adds nothing that tells clients apart, so alone it makes one limit for
	// everybody. It does not hold the request's path, of which a client can make up any number.
	Route KeyType = "Route"
)

// KeyPart is one part of a rule's key. A part that a request has nothing for (no identity, no such claim or header) is
// replaced by the client's address: strangers are neither unlimited nor in one bucket with each other.
type KeyPart struct {
	Type KeyType
	// Name is the claim's or the header's.
	Name string
}

// keyBuilder makes a rule's keys.
type keyBuilder struct {
	space keyspace.Keyspace
	rule  string
	parts []part
	// needIdentity says that a part is taken from the identity.
	needIdentity bool
}

// part is a compiled KeyPart. A tag goes into the key before the value, another where the address stands in for it, so
// that a client cannot choose a value that meets another client's address.
type part struct {
	KeyPart
	tag, absent string
}

// maxParts bounds a key's length.
const maxParts = 8

func newKeyBuilder(space keyspace.Keyspace, rule string, by []KeyPart) (keyBuilder, error) {
	b := keyBuilder{space: space, rule: rule}
	if len(by) == 0 || len(by) > maxParts {
		return b, fmt.Errorf("keyBy has %d parts; give 1 to %d", len(by), maxParts)
	}
	for _, p := range by {
		switch p.Type {
		case ClientAddress, Route:
			if p.Name != "" {
				return b, fmt.Errorf("keyBy %s takes no name, not %q", p.Type, p.Name)
			}
		case Subject:
			if p.Name != "" {
				return b, fmt.Errorf("keyBy %s takes no name, not %q", p.Type, p.Name)
			}
			b.needIdentity = true
		case Claim:
			b.needIdentity = true
			if p.Name == "" {
				return b, errors.New("keyBy Claim needs the claim's name")
			}
		case Header:
			if p.Name == "" {
				return b, errors.New("keyBy Header needs the header's name")
			}
			p.Name = http.CanonicalHeaderKey(p.Name)
		default:
			return b, fmt.Errorf("keyBy type %q is not known", p.Type)
		}
		b.parts = append(b.parts, part{KeyPart: p, tag: string(p.Type) + ":" + p.Name, absent: "no " + string(p.Type) + ":" + p.Name})
	}
	return b, nil
}

// key returns the key of a request. What a client or an issuer wrote is in it as a hash alone: it may be secret (an API
// key) or personal, and stores show their keys to many.
func (b *keyBuilder) key(r *http.Request, info *request.Info) string {
	var room [1 + 2*maxParts]string
	parts := append(room[:0], b.rule)
	for i := range b.parts {
		p := &b.parts[i]
		if p.Type == Route {
			parts = append(parts, p.tag)
			continue
		}
		value := p.value(r, info)
		if value == "" {
			parts = append(parts, p.absent, address(info.ClientAddr))
			continue
		}
		parts = append(parts, p.tag, value)
	}
	return b.space.Key(parts...)
}

// value is what the request has for the part, or "".
func (p *part) value(r *http.Request, info *request.Info) string {
	switch p.Type {
	case ClientAddress:
		return address(info.ClientAddr)
	case Subject:
		if info.Identity == nil || info.Identity.Subject == "" {
			return ""
		}
		return digest(info.Identity.Issuer, info.Identity.Subject)
	case Claim:
		return claim(info.Identity, p.Name)
	default:
		return header(r, p.Name)
	}
}

// address is the network that counts as one client.
func address(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		return netip.PrefixFrom(a, 64).Masked().String()
	}
	return a.String()
}

func header(r *http.Request, name string) string {
	values := r.Header[name]
	if name == "Host" { // net/http moves it out of the fields
		values = []string{r.Host}
	}
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return ""
	}
	return digest(values...)
}

// claim tells the types apart: the number 1 is not the text "1". A null or empty claim is none.
func claim(id *identity.Identity, name string) string {
	v, ok := id.Claim(name)
	if !ok || v == nil || v == "" {
		return ""
	}
	text, err := json.Marshal(v) // the keys of objects come out sorted
	if err != nil {
		return ""
	}
	return digest(id.Issuer, string(text))
}

// digest is 128 bits of the SHA-256 of values, each of which carries its length.
func digest(values ...string) string {
	var room [256]byte
	b := room[:0]
	for _, v := range values {
		b = append(strconv.AppendInt(b, int64(len(v)), 10), ':')
		b = append(b, v...)
	}
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
