package jwks

import (
	"context"
	"fmt"
	"time"

	"github.com/posterndev/postern/sidecar/secret"
)

// mounted loads a set from a secret source: a mounted Secret, or a store.
type mounted struct {
	source     secret.Source
	algorithms []string
	now        func() time.Time
	// value is what the last good set was read from; load is never called twice at a time.
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
	set, err := ParseSecret(value.Reveal(), m.algorithms)
	if err != nil {
		return nil, err
	}
	m.value = value
	return &content{set: set, at: m.now()}, nil
}
