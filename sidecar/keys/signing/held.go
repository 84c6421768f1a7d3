package signing

import (
	"context"
	"fmt"
	"time"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// Held is a Source whose private keys are the content of a secret.
type Held struct {
	// Secrets are the secret's versions.
	Secrets   History
	Algorithm Algorithm
}

// History gives the versions of a secret that can still be read, as Vault KV v2 keeps them; the older first. It is safe
// for concurrent use.
type History interface {
	History(ctx context.Context) ([]Content, error)
}

// Content is one version of a secret.
type Content struct {
	Value secret.Value
	// Created is zero where it is not known.
	Created time.Time
}

// Latest is the History of a secret that has no earlier versions, as a Kubernetes Secret.
type Latest struct{ secret.Source }

// History implements History.
func (l Latest) History(ctx context.Context) ([]Content, error) {
	v, err := l.Read(ctx)
	if err != nil {
		return nil, err
	}
	return []Content{{Value: v}}, nil
}

// Versions implements Source. A key that several versions of the secret hold has the time of the first one. Where an older
// version of the secret cannot be used it is left out, for it may be of before the policy's algorithm; the newest must be
// good.
func (h Held) Versions(ctx context.Context) ([]Version, error) {
	contents, err := h.Secrets.History(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading signing key: %w", err)
	}
	var versions []Version
	seen := map[string]bool{}
	for i, content := range contents {
		parsed, err := parse(content.Value.Reveal(), h.Algorithm)
		if err != nil {
			if i < len(contents)-1 {
				continue
			}
			return nil, err
		}
		for _, v := range parsed {
			if seen[v.Signer.KeyID()] {
				continue
			}
			seen[v.Signer.KeyID()] = true
			if v.Created.IsZero() {
				v.Created = content.Created
			}
			versions = append(versions, v)
		}
	}
	return versions, nil
}
