package document

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// Mounted watches the directory in which the policy's ConfigMap is mounted.
type Mounted struct {
	Dir string
	// Interval is the pause between two reads. The kubelet itself refreshes the directory about once a minute.
	Interval time.Duration
	Keeper   *Keeper
	Logger   *slog.Logger
}

// Run offers the document in the directory immediately and whenever it changes, until ctx ends.
func (m Mounted) Run(ctx context.Context) {
	ticker := time.NewTicker(m.Interval)
	defer ticker.Stop()
	for seen := ""; ; {
		seen = m.look(ctx, seen)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look offers the document unless it is the last seen one, and returns what it saw. A document that could not be
// applied is offered again next time, because what it needs, such as a Secret, may then be mounted.
func (m Mounted) look(ctx context.Context, seen string) string {
	signed, err := ReadDir(m.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err == nil && signed.Hash() == seen {
		return seen
	}
	if err == nil {
		err = m.Keeper.Offer(ctx, signed)
	}
	if errors.Is(err, errOld) {
		return signed.Hash()
	}
	if err != nil {
		if text := err.Error(); text != seen {
			m.Logger.WarnContext(ctx, "mounted document not accepted", "error", err)
			return text
		}
		return seen
	}
	return signed.Hash()
}

// ReadDir reads from a mounted ConfigMap the signed document with the newest schema version that this build supports.
// It returns fs.ErrNotExist if there is none.
func ReadDir(dir string) (compiled.Signed, error) { return readVersion(dir, compiled.SchemaVersion) }

func readVersion(dir string, reads int) (compiled.Signed, error) {
	documentKey, signatureKey := compiled.DocumentKeys(reads)
	document, err := read(filepath.Join(dir, documentKey))
	if errors.Is(err, fs.ErrNotExist) && reads > 1 {
		return readVersion(dir, reads-1)
	}
	if err != nil {
		return compiled.Signed{}, err
	}
	encoded, err := read(filepath.Join(dir, signatureKey))
	if err != nil {
		return compiled.Signed{}, err
	}
	signature, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(encoded)))
	if err != nil {
		return compiled.Signed{}, fmt.Errorf("decoding signature: %w", err)
	}
	return compiled.Signed{Document: document, Signature: signature}, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading document: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, compiled.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading document: %w", err)
	}
	return b, nil
}
