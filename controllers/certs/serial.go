package certs

import (
	"crypto/rand"
	"fmt"
	"math/big"
)

// newSerial returns a random positive serial number of 127 bits (RFC 5280 §4.1.2.2 allows 20 octets).
func newSerial() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("generating serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b), nil
}
