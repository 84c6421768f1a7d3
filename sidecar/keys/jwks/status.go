package jwks

import "time"

// Status is the state of one provider's keys.
type Status struct {
	Provider string
	// Ready is false where no set is in force: tokens of this provider are answered with 503.
	Ready bool
	// Keys is the number of keys in force.
	Keys int
	// Age is the time since the origin last confirmed the set; zero where it never did, and for an inline set.
	Age time.Duration
	// Err is why the latest load failed; empty where it did not. It holds no address and no key.
	Err string
}

// Status returns the state of each provider in force, by name.
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
	if fixed, ok := s.source.(static); ok {
		st.Ready, st.Keys = true, fixed.set.Len()
		return st
	}
	if err := s.polled.lastErr(); err != nil {
		st.Err = err.Error()
	}
	if c := s.polled.current.Load(); c != nil {
		st.Age = now.Sub(c.at)
	}
	if set := s.polled.usable(); set != nil {
		st.Ready, st.Keys = true, set.Len()
	}
	return st
}
