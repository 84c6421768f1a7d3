// Package transit signs with Vault's Transit engine: the private keys never leave Vault.
package transit

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/keys/vault"
)

// Engine is a Transit engine of Vault. It is safe for concurrent use.
type Engine struct {
	client *vault.Client
	mount  string
}

var _ signing.Transit = (*Engine)(nil)

// New returns the engine at mount; empty for "transit".
func New(client *vault.Client, mount string) (*Engine, error) {
	mount = vault.MountPath(mount, "transit")
	if err := check.VaultPath(mount); err != nil {
		return nil, fmt.Errorf("setting up Transit: %w", err)
	}
	return &Engine{client: client, mount: mount}, nil
}

// Sign implements signing.Transit with one request. Vault must still allow signing with the version.
func (e *Engine) Sign(ctx context.Context, key string, version int, a signing.Algorithm, input []byte) ([]byte, error) {
	if err := check.TransitKey(key); err != nil {
		return nil, err
	}
	body := map[string]any{
		"input":                base64.StdEncoding.EncodeToString(input),
		"key_version":          version,
		"marshaling_algorithm": "jws",
	}
	switch a {
	case signing.ES256, signing.EdDSA:
	case signing.RS256:
		body["signature_algorithm"] = "pkcs1v15"
	case signing.PS256:
		body["signature_algorithm"], body["salt_length"] = "pss", "hash"
	default:
		return nil, fmt.Errorf("signing with %s: Transit does not sign with %.20q", key, string(a))
	}
	data, err := e.client.Write(ctx, e.path("sign", key)+"/sha2-256", body)
	if err != nil {
		return nil, err
	}
	text, ok := data["signature"].(string)
	if !ok {
		return nil, errors.New("reading Transit's signature: the response has none")
	}
	return parseSignature(text, version)
}

// PublicKeys implements signing.Transit. It returns the versions from min_encryption_version on, the oldest first.
func (e *Engine) PublicKeys(ctx context.Context, key string) ([]signing.PublicVersion, error) {
	if err := check.TransitKey(key); err != nil {
		return nil, err
	}
	data, err := e.client.Read(ctx, e.path("keys", key), "Transit has no key of that name")
	if err != nil {
		return nil, err
	}
	return parsePublicVersions(data)
}

// Forget removes the failures of a key that is no longer used from the client's state.
func (e *Engine) Forget(key string) {
	e.client.Forget(e.path("keys", key), e.path("sign", key)+"/sha2-256", e.path("keys", key)+"/rotate")
}

// Rotator returns a Rotator for the key. The Vault policy must allow update on its rotate path.
func (e *Engine) Rotator(key string) signing.Rotator { return rotator{engine: e, key: key} }

type rotator struct {
	engine *Engine
	key    string
}

// Rotate implements signing.Rotator.
func (r rotator) Rotate(ctx context.Context) error {
	if err := check.TransitKey(r.key); err != nil {
		return err
	}
	_, err := r.engine.client.Write(ctx, r.engine.path("keys", r.key)+"/rotate", map[string]any{})
	return err
}

func (e *Engine) path(what, key string) string { return e.mount + "/" + what + "/" + key }

// maxSignature bounds a signature in bytes: that of RSA with 4096 bits.
const maxSignature = 512

// parseSignature parses "vault:v3:<base64url>", the format of marshaling_algorithm jws.
func parseSignature(text string, version int) ([]byte, error) {
	encoded, found := strings.CutPrefix(text, "vault:v"+strconv.Itoa(version)+":")
	if !found {
		return nil, errors.New("reading Transit's signature: it is not by the requested version")
	}
	if base64.RawURLEncoding.DecodedLen(len(encoded)) > maxSignature {
		return nil, fmt.Errorf("reading Transit's signature: it is longer than %d bytes", maxSignature)
	}
	signature, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || len(signature) == 0 {
		return nil, errors.New("reading Transit's signature: it is not base64url")
	}
	return signature, nil
}
