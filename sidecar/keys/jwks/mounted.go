package jwks

import (
	"context"
	"fmt"
	"time"

	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// mounted loads a set from a secret source that is read at each load, such as a mounted Secret.
type mounted struct {
	source  secret.Source
	options keyset.Options
	now     func() time.Time
	// value is the content of the last good set. It needs no lock, because calls of load never overlap.
	value secret.Value
}

func (m *mounted) load(ctx context.Context, last *content) (*content, error) {
	value, err := m.source.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading key set: %w", err)
	}
	if last != nil && value.Equal(m.value) {
		return &content{set: last.set, at: m.now()}, nil
	}
	set, err := keyset.ParseSecret(value.Reveal(), m.options)
	if err != nil {
		return nil, err
	}
	m.value = value
	return &content{set: set, at: m.now()}, nil
}
