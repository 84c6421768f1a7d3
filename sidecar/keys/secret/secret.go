// Package secret holds values that must not be seen: a redacting type, and the sources that values come from.
package secret

import (
	"context"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"time"
)

const redacted = "[redacted]"

// Value is a secret's bytes. Printing, formatting, logging or marshalling it gives "[redacted]".
type Value struct{ bytes []byte }

// New returns a Value with its own copy of b.
func New(b []byte) Value { return Value{bytes: append([]byte(nil), b...)} }

// Reveal returns the bytes; they must not be changed or kept longer than they are used.
func (v Value) Reveal() []byte { return v.bytes }

// IsZero reports whether there is no secret.
func (v Value) IsZero() bool { return len(v.bytes) == 0 }

// Equal compares in constant time.
func (v Value) Equal(other Value) bool { return subtle.ConstantTimeCompare(v.bytes, other.bytes) == 1 }

// Format redacts for every verb of package fmt.
func (v Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue redacts for log/slog.
func (v Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText redacts for JSON and every other text encoding.
func (v Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Source gives a secret's present value. Read returns an error that names the source and never the value; it is safe for
// concurrent use.
type Source interface {
	Read(ctx context.Context) (Value, error)
}

// History gives the versions of a secret that can still be read, the oldest first. It is safe for concurrent use.
type History interface {
	History(ctx context.Context) ([]Version, error)
}

// Version is one version of a secret.
type Version struct {
	Value Value
	// Created is zero where it is unknown.
	Created time.Time
}

// Latest is the History of a source that has no earlier versions, such as a Kubernetes Secret.
type Latest struct{ Source }

// History implements History.
func (l Latest) History(ctx context.Context) ([]Version, error) {
	v, err := l.Read(ctx)
	if err != nil {
		return nil, err
	}
	return []Version{{Value: v}}, nil
}
