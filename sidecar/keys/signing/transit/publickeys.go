package transit

import (
	"cmp"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/keys/vault"
)

// maxPublic bounds the number of versions that are returned, the newest ones.
const maxPublic = 32

// parsePublicVersions parses Transit's response for a key.
func parsePublicVersions(data map[string]any) ([]signing.PublicVersion, error) {
	least, err := vault.ParseInt(data["min_encryption_version"])
	if err != nil {
		return nil, fmt.Errorf("reading Transit key: min_encryption_version: %w", err)
	}
	keys, ok := data["keys"].(map[string]any)
	if !ok {
		return nil, errors.New("reading Transit key: it has no versions")
	}
	var numbers []int
	for text := range keys {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, errors.New("reading Transit key: a version is not a number")
		}
		if n >= least {
			numbers = append(numbers, n)
		}
	}
	slices.SortFunc(numbers, func(a, b int) int { return cmp.Compare(a, b) })
	numbers = numbers[max(0, len(numbers)-maxPublic):]
	versions := make([]signing.PublicVersion, 0, len(numbers))
	for _, n := range numbers {
		v, err := parsePublicVersion(n, keys[strconv.Itoa(n)])
		if err != nil {
			return nil, fmt.Errorf("reading Transit key: version %d: %w", n, err)
		}
		versions = append(versions, v)
	}
	return versions, nil
}

func parsePublicVersion(n int, v any) (signing.PublicVersion, error) {
	fields, ok := v.(map[string]any)
	if !ok { // a symmetric key has only its creation time, a number
		return signing.PublicVersion{}, errors.New("it has no public key: the type must be ecdsa-p256, rsa-2048 or more, or ed25519")
	}
	created, err := vault.ParseTime(fields["creation_time"])
	if err != nil || created.IsZero() {
		return signing.PublicVersion{}, errors.New("it has no creation time")
	}
	text, _ := fields["public_key"].(string)
	public, err := parsePublic(text)
	if err != nil {
		return signing.PublicVersion{}, err
	}
	return signing.PublicVersion{Number: n, Public: public, Created: created}, nil
}

// parsePublic parses PEM, or base64 for Ed25519 keys.
func parsePublic(text string) (crypto.PublicKey, error) {
	if block, _ := pem.Decode([]byte(text)); block != nil {
		if block.Type == "RSA PUBLIC KEY" {
			return x509.ParsePKCS1PublicKey(block.Bytes)
		}
		return x509.ParsePKIXPublicKey(block.Bytes)
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, errors.New("it has no valid public key; a derived key has none")
	}
	return ed25519.PublicKey(b), nil
}
