package jwks

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// mounted loads a set from a secret source: a mounted Secret, or a store such as Vault.
type mounted struct {
	source  secret.Source
	options keyset.Options
	now     func() time.Time
	// value is the content of the last good set. It needs no lock, because calls of load never overlap.
	value secret.Value
	// readAt is the time of the last successful read of the source, valid or not, in nanoseconds since 1970.
	readAt atomic.Int64
}

// sinceRead returns the time since the source could last be read.
func (m *mounted) sinceRead(now time.Time) time.Duration {
	return now.Sub(time.Unix(0, m.readAt.Load()))
}

func (m *mounted) load(ctx context.Context, last *content) (*content, error) {
	value, err := m.source.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading key set: %w", err)
	}
	m.readAt.Store(m.now().UnixNano())
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
