package signing

import (
	"context"
	"fmt"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// StoredKeys is a Source whose private keys are stored in a secret.
type StoredKeys struct {
	// Secrets gives the versions of the secret.
	Secrets   secret.History
	Algorithm Algorithm
}

// Versions implements Source. A key in several versions of the secret has the time of the first one. An older version of the secret
// that is invalid is skipped, because it may predate the policy's algorithm. The newest must be valid.
func (h StoredKeys) Versions(ctx context.Context) ([]Version, error) {
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
