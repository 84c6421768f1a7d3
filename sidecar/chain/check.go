package chain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/authn"
	"github.com/posterndev/postern/sidecar/jwks"
)

// absentKeys stand for keys that lie where Check does not look.
type absentKeys struct{}

func (absentKeys) Lookup(context.Context, string, string) ([]*jwks.Key, error) {
	return nil, jwks.ErrUnavailable
}

func (absentKeys) Holds(*jwks.Key) bool { return false }

// checkKeys judges a provider's algorithms and its inline keys.
func checkKeys(p *compiled.Provider) (authn.Keys, error) {
	if err := jwks.CheckAlgorithms(p.Algorithms); err != nil {
		return nil, err
	}
	if len(p.Keys.Inline) > 0 {
		set, err := jwks.Parse(p.Keys.Inline, jwks.Options{Algorithms: p.Algorithms})
		if err != nil {
			return nil, fmt.Errorf("jwks.inline: %w", err)
		}
		if skipped := set.Skipped(); len(skipped) > 0 {
			return nil, fmt.Errorf("jwks.inline: unusable keys: %s", strings.Join(skipped, "; "))
		}
	}
	return absentKeys{}, nil
}

func checkRedis(r *compiled.Redis) error {
	var errs []error
	for _, address := range r.Addresses {
		if _, _, err := net.SplitHostPort(address); err != nil {
			errs = append(errs, fmt.Errorf("redis: address %q: %w", address, err))
		}
	}
	return errors.Join(errs...)
}
