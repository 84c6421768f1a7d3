package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/keys/signing"
)

// Transit signs with keys that never leave Vault. It is safe for concurrent use.
type Transit struct {
	client *Client
	mount  string
}

var _ signing.Transit = (*Transit)(nil)

// Transit returns the engine of that name at mount; empty for "transit".
func (c *Client) Transit(mount string) (*Transit, error) {
	if err := checkMount(mount); err != nil {
		return nil, fmt.Errorf("setting up Transit: %w", err)
	}
	return &Transit{client: c, mount: mounted(mount, "transit")}, nil
}

// Sign implements signing.Transit, with one request. The version must be one that may still sign.
func (t *Transit) Sign(ctx context.Context, key string, version int, a signing.Algorithm, input []byte) ([]byte, error) {
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
	s, err := t.client.do(ctx, t.path("sign", key), func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		return c.Logical().WriteWithContext(ctx, t.path("sign", key)+"/sha2-256", body)
	})
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, errors.New("reading Transit's signature: there is none")
	}
	text, _ := s.Data["signature"].(string)
	return parseSignature(text, version)
}

// PublicKeys implements signing.Transit: the versions from min_encryption_version on, the older first.
func (t *Transit) PublicKeys(ctx context.Context, key string) ([]signing.PublicVersion, error) {
	if err := check.TransitKey(key); err != nil {
		return nil, err
	}
	s, err := t.client.do(ctx, t.path("keys", key), func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		s, err := c.Logical().ReadWithDataWithContext(ctx, t.path("keys", key), nil)
		if err == nil && s == nil { // 404 without a word: somebody must create it, and the status should say so
			err = &Error{State: Refused, Target: t.path("keys", key), Detail: "Transit has no key of that name"}
		}
		return s, err
	})
	if err != nil {
		return nil, err
	}
	return parsePublicVersions(s.Data)
}

// Forget drops what is known of a key that nobody asks for any more, so that it is not held against Vault.
func (t *Transit) Forget(key string) {
	for _, what := range []string{"keys", "sign"} {
		t.client.health.forget(t.path(what, key))
	}
	t.client.health.forget(t.path("keys", key) + "/rotate")
}

// Rotator makes new versions of a key; the policy needs update on its rotate path.
func (t *Transit) Rotator(key string) signing.Rotator { return rotator{transit: t, key: key} }

type rotator struct {
	transit *Transit
	key     string
}

// Rotate implements signing.Rotator.
func (r rotator) Rotate(ctx context.Context) error {
	if err := check.TransitKey(r.key); err != nil {
		return err
	}
	path := r.transit.path("keys", r.key) + "/rotate"
	_, err := r.transit.client.do(ctx, path, func(ctx context.Context, c *api.Client) (*api.Secret, error) {
		return c.Logical().WriteWithContext(ctx, path, map[string]any{})
	})
	return err
}

func (t *Transit) path(what, key string) string { return t.mount + "/" + what + "/" + key }

// maxSignature bounds a signature in bytes: RSA of 4096 bits.
const maxSignature = 512

// parseSignature reads "vault:v3:<base64url>", as marshaling_algorithm jws gives it.
func parseSignature(text string, version int) ([]byte, error) {
	encoded, found := strings.CutPrefix(text, "vault:v"+strconv.Itoa(version)+":")
	if !found {
		return nil, errors.New("reading Transit's signature: it is not one by the version asked for")
	}
	if base64.RawURLEncoding.DecodedLen(len(encoded)) > maxSignature {
		return nil, fmt.Errorf("reading Transit's signature: it is longer than %d bytes", maxSignature)
	}
	signature, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || len(signature) == 0 {
		return nil, errors.New("reading Transit's signature: it is not base64url, as marshaling_algorithm jws is")
	}
	return signature, nil
}
