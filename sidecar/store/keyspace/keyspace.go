// Package keyspace builds the keys of the sidecar's stores in Redis. The shared connection is store/redis; each
// store is a package of its own beside what needs it (ratelimit/ratelimitredis, ratelimit/ratelimitmemory).
package keyspace

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
)

// maxPlain is the longest part, in bytes, that stands in a key as it is. A longer one is replaced by its hash, so that a
// client that sends long values cannot make the store's memory grow with them.
const maxPlain = 64

// Keyspace builds the keys of one room (a kind of store) for one scope (a policy). Every key holds the scope as its Redis
// hash tag, so that all keys of one atomic step lie in one Cluster slot, whatever their parts are.
type Keyspace struct{ prefix string }

// New returns the keys of room for scope. Room is a constant of the program, without braces; scope is the
// policy's "namespace/name".
func New(room, scope string) Keyspace {
	b := append([]byte("postern:"), room...)
	b = append(b, ":{"...)
	b = appendPart(b, scope)
	return Keyspace{prefix: string(append(b, '}'))}
}

// Key joins parts under the keyspace. Each part carries its length, so two different lists of parts never give one key,
// whatever bytes a client put into them.
func (k Keyspace) Key(parts ...string) string {
	n := len(k.prefix)
	for _, p := range parts {
		n += min(len(p), maxPlain) + 4
	}
	b := append(make([]byte, 0, n), k.prefix...)
	for _, p := range parts {
		b = append(b, ':')
		b = appendPart(b, p)
	}
	return string(b)
}

// appendPart writes "length:bytes", or "#hash" for a long part. The two cannot be mistaken for each other: a length is
// decimal digits.
func appendPart(b []byte, part string) []byte {
	if len(part) <= maxPlain {
		b = strconv.AppendInt(b, int64(len(part)), 10)
		b = append(b, ':')
		return append(b, part...)
	}
	sum := sha256.Sum256([]byte(part))
	return base64.RawURLEncoding.AppendEncode(append(b, '#'), sum[:])
}
