package signing

import (
	"slices"
	"time"
)

// member is a version as the ring keeps it.
type member struct {
	Version
	// since is from when on it is published; zero where that is not known yet.
	since time.Time
	// gone is when it was missed in its source; zero while it is there.
	gone time.Time
}

// timing is what the plan depends on beside the versions.
type timing struct {
	// overlap is from a version's publication to its first signature.
	overlap time.Duration
	// linger is from a version's last signature to the death of the last token.
	linger time.Duration
	// began is when this process first knew the versions. What retired earlier lingers from then on: the dates of keys without
	// a Registry do not say when they retired, and to verify for too long by this does no harm.
	began time.Time
}

// due is when a version begins to sign, if there was one before it; never where its time is not known.
func (t timing) due(m member) (at time.Time, known bool) {
	return m.since.Add(t.overlap), !m.since.IsZero()
}

// order sorts members, the older first; members without a time are the newest. Between equals the keys' own dates decide,
// and then the order in the source.
func order(members []member) {
	slices.SortStableFunc(members, func(a, b member) int {
		switch {
		case a.since.IsZero() || b.since.IsZero():
			return compareBool(a.since.IsZero(), b.since.IsZero())
		case !a.since.Equal(b.since):
			return a.since.Compare(b.since)
		}
		return a.issued.Compare(b.issued)
	})
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// current is the index of the member that signs at now; -1 if none may. Members are in order.
func (t timing) current(members []member, now time.Time) int {
	for i := len(members) - 1; i >= 0; i-- {
		at, known := t.due(members[i])
		first := i == 0 || !slices.ContainsFunc(members[:i], func(m member) bool { return m.maySign(members) })
		if members[i].maySign(members) && (first || known && !now.Before(at)) {
			return i
		}
	}
	return -1
}

// maySign reports whether the version can sign, and is not withdrawn: one that has gone from its source signs only while a
// newer one there waits for its time.
func (m *member) maySign(members []member) bool {
	if m.gone.IsZero() {
		return true
	}
	if !m.Local {
		return false
	}
	newest := &members[len(members)-1]
	return newest.gone.IsZero() && newest.Signer.KeyID() != m.Signer.KeyID()
}

// published reports whether the version verifies at now: until linger has passed since the next one took over, or since it
// was withdrawn.
func (t timing) published(members []member, i int, now time.Time) bool {
	m, current := &members[i], t.current(members, now)
	if i == current || i > current && m.gone.IsZero() {
		return true
	}
	end := m.gone
	if i < current {
		if at, known := t.due(members[i+1]); known {
			end = at
		}
		if end.Before(t.began) {
			end = t.began
		}
	}
	return now.Before(end.Add(t.linger))
}
