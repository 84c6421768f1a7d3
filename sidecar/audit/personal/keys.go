// Package personal hides personal data in the audit trail: by pseudonyms, which are the same for the same value, and by encryption under a
// key of the record's subject, which can be erased.
//
// All keys come from one master key of at least 32 bytes. A person who has it can find the pseudonym of a value that they know, and can decrypt
// what has not been erased.
package personal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// MinMasterKey is the minimum length of a master key, in bytes.
const MinMasterKey = 32

// Keys are derived from a master key (HKDF with SHA-256, RFC 5869).
type Keys struct {
	pseudonyms, subjects []byte
	wrapping             cipher.AEAD
	signing              ed25519.PrivateKey
}

// Derive returns the keys of a master key. Line ends after it are not part of it: some sources keep the one that openssl and editors write,
// and others do not, and the command line and the sidecars must derive the same keys.
func Derive(master secret.Value) (*Keys, error) {
	key := bytes.TrimRight(master.Reveal(), "\r\n")
	if n := len(key); n < MinMasterKey {
		return nil, fmt.Errorf("deriving the keys of the audit trail: the key has %d bytes; write at least %d random bytes", n, MinMasterKey)
	}
	k := &Keys{}
	var wrapping, seed []byte
	for _, one := range []struct {
		to    *[]byte
		label string
	}{{&k.pseudonyms, "pseudonyms"}, {&k.subjects, "subjects"}, {&wrapping, "wrapping"}, {&seed, "signing"}} {
		derived, err := hkdf.Key(sha256.New, key, nil, "postern.dev/audit/"+one.label, 32)
		if err != nil {
			return nil, fmt.Errorf("deriving the keys of the audit trail: %w", err)
		}
		*one.to = derived
	}
	k.signing = ed25519.NewKeyFromSeed(seed)
	var err error
	if k.wrapping, err = newAEAD(wrapping); err != nil {
		return nil, err
	}
	return k, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("making a cipher: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Signing returns the key that signs checkpoints.
func (k *Keys) Signing() ed25519.PrivateKey { return k.signing }

// Pseudonym returns the pseudonym of a value of a field.
func (k *Keys) Pseudonym(field, value string) string {
	return pseudonymPrefix + base64.RawURLEncoding.EncodeToString(keyed(k.pseudonyms, field, value)[:16])
}

// pseudonymPrefix tells pseudonyms from other values.
const pseudonymPrefix = "pseudonym:"

// SubjectHash returns the name under which the keys of a subject are stored. The issuer is empty for an account that nobody has verified.
func (k *Keys) SubjectHash(issuer, subject string) []byte { return keyed(k.subjects, issuer, subject) }

// keyed returns HMAC-SHA256 of the texts, each after its length.
func keyed(key []byte, texts ...string) []byte {
	mac := hmac.New(sha256.New, key)
	for _, text := range texts {
		_ = binary.Write(mac, binary.BigEndian, uint64(len(text))) // a hash does not fail
		mac.Write([]byte(text))
	}
	return mac.Sum(nil)
}
