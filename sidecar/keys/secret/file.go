package secret

import (
	"context"
	"fmt"
	"io"
	"os"
)

// maxFileSize bounds what is read of one secret, in bytes: the limit of a Kubernetes Secret.
const maxFileSize = 1 << 20

// File is a Source that reads a file at each call, as a Kubernetes Secret is mounted. One trailing newline, as editors
// and `kubectl create secret --from-file` leave it, is not part of the value.
type File string

// Read returns the file's content. An absent, empty or oversized file is an error.
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
		return Value{}, fmt.Errorf("reading secret %s: empty", f)
	}
	return New(b), nil
}
