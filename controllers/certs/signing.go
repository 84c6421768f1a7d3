package certs

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// keySigning is the signing key Secret's one key: Ed25519, PKCS #8, PEM.
const keySigning = "signing.key"

// attempts bounds how often a write is tried if other replicas write as well.
const attempts = 5

// SigningKey returns the key that documents are signed with. If its Secret is empty, it generates a key and writes it, or
// uses that of another replica that was faster. An existing key is never replaced, and one that cannot be parsed is an error:
// running sidecars would refuse the documents of a new key.
func SigningKey(ctx context.Context, c client.Client, secret types.NamespacedName) (ed25519.PrivateKey, error) {
	return keepSigningKey(ctx, c, secret, newSigningKey)
}

// keepSigningKey returns the Secret's key; if it has none, it writes and returns that of first.
func keepSigningKey(ctx context.Context, c client.Client, secret types.NamespacedName, first func() (ed25519.PrivateKey, error)) (ed25519.PrivateKey, error) {
	for range attempts {
		s := &corev1.Secret{}
		if err := c.Get(ctx, secret, s); err != nil {
			return nil, fmt.Errorf("reading Secret %q (the chart creates it, empty): %w", secret, err)
		}
		if b := s.Data[keySigning]; len(b) > 0 {
			key, err := parseSigningKey(b)
			if err != nil {
				return nil, fmt.Errorf("reading Secret %q: %w", secret, err)
			}
			return key, nil
		}
		key, err := first()
		if err != nil {
			return nil, err
		}
		if s.Data == nil {
			s.Data = map[string][]byte{}
		}
		if s.Data[keySigning], err = encodeKey(key); err != nil {
			return nil, err
		}
		if err := c.Update(ctx, s); err != nil && !apierrors.IsConflict(err) {
			return nil, fmt.Errorf("writing Secret %q: %w", secret, err)
		}
	}
	return nil, fmt.Errorf("writing Secret %q: it kept changing", secret)
}

func newSigningKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generating signing key: %w", err)
	}
	return key, nil
}

func parseSigningKey(b []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("parsing signing key: it is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parsing signing key: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("parsing signing key: it is not Ed25519")
	}
	return key, nil
}
