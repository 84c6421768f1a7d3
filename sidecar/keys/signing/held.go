package signing

import (
	"context"
	"fmt"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// Held is a Source whose private keys are the content of a secret.
type Held struct {
	// Secrets are the secret's versions.
	Secrets   secret.History
	Algorithm Algorithm
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
