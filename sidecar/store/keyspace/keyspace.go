// Package keyspace builds the keys of the sidecar's stores in Redis. docs/state.md lists the keys. Package store/redis is the
// shared connection. Each store is a package beside the package that uses it (ratelimit/ratelimitredis,
// ratelimit/ratelimitmemory).
package keyspace

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
)

// maxPlain is the maximum length, in bytes, of a part that a key contains unchanged. A longer part is replaced by its hash, so
// that long values from clients do not use up the memory of Redis.
const maxPlain = 64

// Keyspace builds the keys of one room (a kind of store) for one scope (a policy or a namespace). Every key has the scope as its
// Redis hash tag, so that all keys of one atomic step are in one Cluster slot.
type Keyspace struct{ prefix string }

// New returns the keyspace of room for scope. room is a constant in lower-case letters. scope is the policy's "namespace/name",
// or its namespace. The scope is never hashed: Kubernetes bounds it at 317 bytes. So an ACL can limit a Redis user to the keys
// of one namespace, regardless of the length of policy names.
func New(room, scope string) Keyspace {
	b := append([]byte("postern:"), room...)
	b = append(b, ":{"...)
	b = appendPlain(b, scope)
	return Keyspace{prefix: string(append(b, '}'))}
}

// Key adds parts to the keyspace. Each part has its length as a prefix, so two different lists of parts never give the same key,
// whatever bytes a client sends.
func (k Keyspace) Key(parts ...string) string {
	n := len(k.prefix)
	for _, p := range parts {
		n += min(len(p), maxPlain) + 4
	}
	b := k.Append(make([]byte, 0, n))
	for _, p := range parts {
		b = AppendPart(b, p)
	}
	return string(b)
}

// Append appends the beginning of a key, for callers that reuse memory. AppendPart appends each of its parts.
func (k Keyspace) Append(b []byte) []byte { return append(b, k.prefix...) }

// AppendPart appends a part to the key of Append.
func AppendPart[T string | []byte](b []byte, part T) []byte { return appendPart(append(b, ':'), part) }

// Hash returns a part that stands for names of persons: a key does not show who they are, whatever the length of the names. The
// hash differs between keyspaces. Many people can read the keys of a Redis. Who knows a name can compute its hash.
func (k Keyspace) Hash(names ...string) string {
	b := append([]byte(k.prefix), 0)
	for _, name := range names {
		b = appendPlain(b, name)
	}
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// appendPart appends "length:bytes", or "#hash" for a long part. A length has only decimal digits, so the two forms differ in
// their first byte.
func appendPart[T string | []byte](b []byte, part T) []byte {
	if len(part) <= maxPlain {
		return appendPlain(b, part)
	}
	sum := sha256.Sum256([]byte(part))
	return base64.RawURLEncoding.AppendEncode(append(b, '#'), sum[:])
}

func appendPlain[T string | []byte](b []byte, part T) []byte {
	b = strconv.AppendInt(b, int64(len(part)), 10)
	b = append(b, ':')
	return append(b, part...)
}
