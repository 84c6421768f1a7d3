// Package secret holds secret values: a redacting type, and the sources of values.
package secret

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"
)

const redacted = "[redacted]"

// Value holds the bytes of a secret. Printing, formatting, logging or marshalling it gives "[redacted]".
type Value struct{ bytes []byte }

// New returns a Value with a copy of b.
func New(b []byte) Value { return Value{bytes: append([]byte(nil), b...)} }

// Reveal returns the bytes. The caller must not change them, nor store them.
func (v Value) Reveal() []byte { return v.bytes }

// IsZero reports whether the value is empty.
func (v Value) IsZero() bool { return len(v.bytes) == 0 }

// Equal compares in constant time.
func (v Value) Equal(other Value) bool { return subtle.ConstantTimeCompare(v.bytes, other.bytes) == 1 }

// Format redacts for every verb of package fmt.
func (v Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue redacts for log/slog.
func (v Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText redacts for JSON and every other text encoding.
func (v Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Source reads the current value of a secret. Errors name the source, never the value. It is safe for concurrent use.
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

// ErrEmpty is the error of a source that exists and has no content.
var ErrEmpty = errors.New("empty")

// maxFileSize bounds a secret in bytes: the limit of a Kubernetes Secret.
const maxFileSize = 1 << 20

// File is a Source that reads a file at each call, such as a mounted Kubernetes Secret. One trailing newline is not part of the value,
// because editors append it.
type File string

// Read returns the content of the file. A missing, empty or oversized file is an error.
func (f File) Read(context.Context) (Value, error) {
	file, err := os.Open(string(f))
	if err != nil {
		return Value{}, fmt.Errorf("reading secret: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err != nil {
		return Value{}, fmt.Errorf("reading secret %s: %w", f, err)
	}
	if len(b) > maxFileSize {
		return Value{}, fmt.Errorf("reading secret %s: larger than %d bytes", f, maxFileSize)
	}
	if n := len(b); n > 0 && b[n-1] == '\n' {
		b = b[:n-1]
	}
	if len(b) == 0 {
		return Value{}, fmt.Errorf("reading secret %s: %w", f, ErrEmpty)
	}
	return New(b), nil
}
