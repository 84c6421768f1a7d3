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
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/clientnet"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// KeyType says what a part of a key is made of.
type KeyType string

// The key parts, as the policy spells them.
const (
	// ClientAddress is the client's IPv4 address, or the network of its IPv6 address with Rule.IPv6PrefixLength bits:
	// one client usually has all of that network.
	ClientAddress KeyType = "ClientAddress"
	// Subject is the identity's subject together with its issuer.
	Subject KeyType = "Subject"
	// Claim is the value of the claim Name together with its issuer, because only the issuer defines what a claim
	// means.
	Claim KeyType = "Claim"
	// Header is the value of the request's header field Name, with all its lines.
	Header KeyType = "Header"
	// Route is the rule itself. It does not distinguish clients: as the only part, it makes one limit for all
	// clients. It does not contain the request's path, because a client can invent any number of paths.
	Route KeyType = "Route"
)

// KeyPart is one part of a rule's key. If the request has no value for a part (no identity, no such claim or header),
// the client's address replaces it. So anonymous clients are limited, and do not share one counter.
type KeyPart struct {
	Type KeyType
	// Name is the name of the claim or header.
	Name string
}

// keyBuilder builds a rule's keys.
type keyBuilder struct {
	space keyspace.Keyspace
	rule  string
	parts []part
	// kind separates the keys of requests in progress from those of the rule's rate; empty for the rate.
	kind string
	// kinds are the types of the parts, for a trace.
	kinds string
	// ipv6Bits is the length of the IPv6 networks that count as one client; 0 is that of clientnet.
	ipv6Bits int
	// needIdentity says that a part comes from the identity.
	needIdentity bool
}

// part is a compiled KeyPart. The key contains a tag before the value, and another tag if the address replaces the
// value. So a client cannot choose a value that equals the key of another client's address.
type part struct {
	KeyPart
	tag, absent string
}

// maxParts bounds a key's length.
const maxParts = 8

func newKeyBuilder(space keyspace.Keyspace, r *Rule) (keyBuilder, error) {
	b, by := keyBuilder{space: space, rule: r.Name, ipv6Bits: r.IPv6PrefixLength}, r.KeyBy
	if b.ipv6Bits < 0 || b.ipv6Bits > 128 {
		return b, fmt.Errorf("an IPv6 prefix length of %d is not between 0 and 128", b.ipv6Bits)
	}
	if len(by) == 0 || len(by) > maxParts {
		return b, fmt.Errorf("keyBy has %d parts; use 1 to %d parts", len(by), maxParts)
	}
	for _, p := range by {
		switch p.Type {
		case ClientAddress, Route:
			if p.Name != "" {
				return b, fmt.Errorf("keyBy %s has no name; remove the name %q", p.Type, p.Name)
			}
		case Subject:
			if p.Name != "" {
				return b, fmt.Errorf("keyBy %s has no name; remove the name %q", p.Type, p.Name)
			}
			b.needIdentity = true
		case Claim:
			b.needIdentity = true
			if p.Name == "" {
				return b, errors.New("keyBy Claim needs the name of a claim")
			}
		case Header:
			if p.Name == "" {
				return b, errors.New("keyBy Header needs the name of a header")
			}
			p.Name = http.CanonicalHeaderKey(p.Name)
		default:
			return b, fmt.Errorf("keyBy type %q is not known", p.Type)
		}
		b.kinds = strings.TrimPrefix(b.kinds+", "+string(p.Type), ", ")
		b.parts = append(b.parts, part{KeyPart: p, tag: string(p.Type) + ":" + p.Name, absent: "no " + string(p.Type) + ":" + p.Name})
	}
	return b, nil
}

// planTag is the tag of the part that a plan adds. The other parts of a rule's keys are the same in number for every
// request, so it cannot be confused with them.
const planTag = "Plan"

// inFlightTag is the kind of the keys of requests in progress. The tags of parts contain a colon, so it is none of them.
const inFlightTag = "in-flight"

// key returns the key of a request under the plan with that value; empty is the rule's own limit.
func (b *keyBuilder) key(r *http.Request, info *request.Info, plan string) string {
	return string(b.appendKey(nil, r, info, plan))
}

// appendKey appends the key to dst. Values that a client or an issuer wrote are hashed: they may be secret (an API
// key) or personal, and many people can read the keys of a store.
func (b *keyBuilder) appendKey(dst []byte, r *http.Request, info *request.Info, plan string) []byte {
	var room [64]byte
	dst = keyspace.AppendPart(b.space.Append(dst), b.rule)
	if b.kind != "" {
		dst = keyspace.AppendPart(dst, b.kind)
	}
	for i := range b.parts {
		p := &b.parts[i]
		if p.Type == Route {
			dst = keyspace.AppendPart(dst, p.tag)
			continue
		}
		tag, value := p.tag, b.appendValue(room[:0], p, r, info)
		if len(value) == 0 {
			tag, value = p.absent, b.appendAddress(room[:0], info.ClientAddr)
		}
		dst = keyspace.AppendPart(keyspace.AppendPart(dst, tag), value)
	}
	if plan != "" {
		dst = keyspace.AppendPart(keyspace.AppendPart(dst, planTag), plan)
	}
	return dst
}

// appendValue appends the request's value for the part; nothing if there is none.
func (b *keyBuilder) appendValue(dst []byte, p *part, r *http.Request, info *request.Info) []byte {
	switch p.Type {
	case ClientAddress:
		return b.appendAddress(dst, info.ClientAddr)
	case Subject:
		if info.Identity == nil || info.Identity.Subject == "" {
			return dst
		}
		return appendDigest(dst, info.Identity.Issuer, info.Identity.Subject)
	case Claim:
		return appendClaim(dst, info.Identity, p.Name)
	default:
		return appendHeader(dst, r, p.Name)
	}
}

// appendAddress appends the text of the network that counts as one client. That of an IPv4 address has no prefix length.
func (b *keyBuilder) appendAddress(dst []byte, a netip.Addr) []byte {
	network := clientnet.Of(a)
	if !network.IsValid() {
		return append(dst, a.String()...)
	}
	if !network.Addr().Is6() {
		return a.Unmap().AppendTo(dst)
	}
	if b.ipv6Bits != 0 && b.ipv6Bits != network.Bits() {
		if own, err := a.WithZone("").Prefix(b.ipv6Bits); err == nil {
			network = own
		}
	}
	return network.AppendTo(dst)
}

func appendHeader(dst []byte, r *http.Request, name string) []byte {
	values := r.Header[name]
	if name == "Host" { // net/http moves it out of the fields
		values = []string{r.Host}
	}
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return dst
	}
	return appendDigest(dst, values...)
}

// appendClaim distinguishes types: the number 1 is not the text "1". A null or empty claim counts as missing.
func appendClaim(dst []byte, id *identity.Identity, name string) []byte {
	v, ok := id.Claim(name)
	if !ok || v == nil || v == "" {
		return dst
	}
	text, err := json.Marshal(v) // sorts the keys of objects
	if err != nil {
		return dst
	}
	return appendDigest(dst, id.Issuer, string(text))
}

// appendDigest appends 128 bits of the SHA-256 of values. Each value is hashed with its length.
func appendDigest(dst []byte, values ...string) []byte {
	var room [256]byte
	b := room[:0]
	for _, v := range values {
		b = append(strconv.AppendInt(b, int64(len(v)), 10), ':')
		b = append(b, v...)
	}
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.AppendEncode(dst, sum[:16])
}
