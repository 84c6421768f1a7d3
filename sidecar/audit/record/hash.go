package record

import (
	"encoding/base64"
	"fmt"
)

// Hash is a SHA-256 hash. In JSON it is base64.
type Hash [32]byte

// IsZero reports whether h is the zero hash, which stands for none.
func (h Hash) IsZero() bool { return h == Hash{} }

// String returns h in base64.
func (h Hash) String() string { return base64.StdEncoding.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) error {
	decoded, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil || len(decoded) != len(h) {
		return fmt.Errorf("parsing a hash: %.60q is not base64 of 32 bytes", text)
	}
	copy(h[:], decoded)
	return nil
}
