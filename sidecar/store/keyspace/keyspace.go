// Package keyspace builds the keys of the sidecar's stores in Redis; docs/state.md lists them. The shared connection is
// store/redis; each store is a package beside the one that uses it (ratelimit/ratelimitredis, ratelimit/ratelimitmemory).
package keyspace

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
)

// maxPlain is the longest part, in bytes, that a key contains unchanged. A longer one is replaced by its hash, so that long
// values from clients do not use up the store's memory.
const maxPlain = 64

// Keyspace builds the keys of one room (a kind of store) for one scope (a policy). Every key holds the scope as its Redis
// hash tag, so that all keys of one atomic step lie in one Cluster slot, whatever their parts are.
type Keyspace struct{ prefix string }

// New returns the keys of room for scope. Room is a constant of the program, in lower-case letters; scope is the policy's
// "namespace/name", or its namespace. The scope is never hashed: Kubernetes bounds it at 317 bytes, and an ACL can then
// limit a Redis user to the keys of one namespace, however long a policy's name is.
func New(room, scope string) Keyspace {
	b := append([]byte("postern:"), room...)
	b = append(b, ":{"...)
	b = appendPlain(b, scope)
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

// appendPart writes "length:bytes", or "#hash" for a long part. A length consists of decimal digits, so the two forms differ
// in their first byte.
func appendPart(b []byte, part string) []byte {
	if len(part) <= maxPlain {
		return appendPlain(b, part)
	}
	sum := sha256.Sum256([]byte(part))
	return base64.RawURLEncoding.AppendEncode(append(b, '#'), sum[:])
}

func appendPlain(b []byte, part string) []byte {
	b = strconv.AppendInt(b, int64(len(part)), 10)
	b = append(b, ':')
	return append(b, part...)
}
