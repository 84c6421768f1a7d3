// Package secret holds values that must not be seen: a redacting type, and the sources that values come from.
package secret

import (
	"context"
	"crypto/subtle"
	"fmt"
	"log/slog"
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
