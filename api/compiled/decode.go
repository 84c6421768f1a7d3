package compiled

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxSize bounds a document, in bytes: a ConfigMap holds no more.
const MaxSize = 1 << 20

// ErrTooNew is returned for a document whose schema version is newer than this build reads.
var ErrTooNew = errors.New("the document's schemaVersion is newer than this build reads")

// Encode encodes a document. The same policy always gives the same bytes.
func Encode(p *Policy) ([]byte, error) {
	b, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encoding document: %w", err)
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("encoding document: %d bytes is more than %d", len(b), MaxSize)
	}
	return b, nil
}

// Decode decodes a document strictly. An unknown field, trailing data, a newer schema version (ErrTooNew) and everything that
// Validate refuses are errors.
func Decode(b []byte) (*Policy, error) { return Schema(nil).Decode(b) }

// Decode decodes a document as a build with this schema does.
func (s Schema) Decode(b []byte) (*Policy, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("decoding document: %d bytes is more than %d", len(b), MaxSize)
	}
	if err := s.checkVersion(b); err != nil {
		return nil, fmt.Errorf("decoding document: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	p := &Policy{}
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("decoding document: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decoding document: data after the end of the document")
	}
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("decoding document: %w", err)
	}
	return p, nil
}

// checkVersion reads only the version. It runs first, so that the error for a newer document is ErrTooNew and not an unknown
// field.
func (s Schema) checkVersion(b []byte) error {
	version, err := versionIn(b)
	if err != nil {
		return err
	}
	if newest := s.Newest(); version > newest {
		return fmt.Errorf("%w: %d, this build reads up to %d: restart the pod with a newer sidecar", ErrTooNew, version, newest)
	}
	return nil
}

func versionIn(b []byte) (int, error) {
	var v struct {
		SchemaVersion int `json:"schemaVersion"`
	}
	err := json.Unmarshal(b, &v)
	return v.SchemaVersion, err
}
