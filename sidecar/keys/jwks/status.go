package jwks

import (
	"time"

	"github.com/posterndev/postern/api/check/keyset"
)

// Status is the state of one provider's keys.
type Status struct {
	Provider string
	// Ready is true if a set is active. Otherwise tokens of this provider are refused with 503.
	Ready bool
	// Keys is the number of keys in the active set. Dropped are the keys of its document that are not used.
	Keys    int
	Dropped []keyset.Dropped
	// Age is the time since the origin last confirmed the set. It is zero if it never did, and for an inline set.
	Age time.Duration
	// MaxStale is the age beyond which the set is not used any more; zero for an inline set.
	MaxStale time.Duration
	// Err is why the latest load failed, or empty if it succeeded. It contains no URL and no key.
	Err string
}

// Status returns the state of each active provider, sorted by name.
func (m *Manager) Status() []Status {
	sources := m.newest()
	list := make([]Status, len(sources))
	for i, s := range sources {
		list[i] = s.status(m.now())
	}
	return list
}

func (s *opened) status(now time.Time) Status {
	st := Status{Provider: s.spec.Provider}
	if s.spec.URI != "" || s.spec.Secret != nil {
		st.MaxStale = s.spec.MaxStale
	}
	s.source.status(&st, now)
	return st
}
