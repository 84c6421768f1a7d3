package hashchain

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"golang.org/x/mod/sumdb/note"
)

// KeyName is the name of the signing key in signatures.
const KeyName = "postern.dev/audit"

// algEd25519 is the type of Ed25519 in signed notes (C2SP signed-note).
const algEd25519 = 1

// NewSigner returns the signer of a private key.
func NewSigner(key ed25519.PrivateKey) (note.Signer, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok || len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("making a signer: the key has %d bytes; want %d", len(key), ed25519.PrivateKeySize)
	}
	return RemoteSigner{Public: public, SignWith: func(message []byte) ([]byte, error) { return ed25519.Sign(key, message), nil }}, nil
}

// RemoteSigner signs with a key that is elsewhere, such as in Vault. It implements note.Signer.
type RemoteSigner struct {
	Public   ed25519.PublicKey
	SignWith func(message []byte) ([]byte, error)
}

// Name implements note.Signer.
func (RemoteSigner) Name() string { return KeyName }

// KeyHash implements note.Signer.
func (s RemoteSigner) KeyHash() uint32 {
	h := sha256.Sum256(append([]byte(KeyName+"\n"), keyData(s.Public)...))
	return binary.BigEndian.Uint32(h[:])
}

// Sign implements note.Signer.
func (s RemoteSigner) Sign(message []byte) ([]byte, error) {
	signature, err := s.SignWith(message)
	if err == nil && !ed25519.Verify(s.Public, message, signature) {
		err = fmt.Errorf("the signature is not by the key %s", VerifierKey(s.Public))
	}
	return signature, err
}

// VerifierKey returns a public key in the form that verifiers of signed notes read: name+hash+base64.
func VerifierKey(public ed25519.PublicKey) string {
	return fmt.Sprintf("%s+%08x+%s", KeyName, RemoteSigner{Public: public}.KeyHash(), base64.StdEncoding.EncodeToString(keyData(public)))
}

func keyData(public ed25519.PublicKey) []byte { return append([]byte{algEd25519}, public...) }

// Verifiers returns the verifiers of keys in the form of VerifierKey.
func Verifiers(keys ...string) (note.Verifiers, error) {
	list := make([]note.Verifier, 0, len(keys))
	for _, key := range keys {
		v, err := note.NewVerifier(key)
		if err != nil {
			return nil, fmt.Errorf("reading the public key %.80q: %w", key, err)
		}
		list = append(list, v)
	}
	return note.VerifierList(list...), nil
}
