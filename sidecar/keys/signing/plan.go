package signing

import (
	"slices"
	"time"
)

// member is a version in the ring.
type member struct {
	Version
	// since is when it was published; zero if not known yet.
	since time.Time
	// deleted is when it was first missing from its source; zero while it is present.
	deleted time.Time
}

// timing holds the parameters of the plan.
type timing struct {
	// overlap is the time from a version's publication to its first signature.
	overlap time.Duration
	// linger is the time from a version's last signature to the expiry of its last token.
	linger time.Duration
	// began is when this process first read the versions. For versions that retired earlier, linger counts from then on: without a
	// Registry their dates do not tell when they retired. Verifying for longer than necessary does no harm.
	began time.Time
}

// due returns when a version begins to sign after a previous one. It is unknown if the time of the version is.
func (t timing) due(m member) (at time.Time, known bool) {
	return m.since.Add(t.overlap), !m.since.IsZero()
}

// order sorts members, the oldest first. Members without a time are the newest. If times are equal the keys' own dates decide, and
// then the order in the source.
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

// current returns the index of the member that signs at now, or -1. Members must be in order.
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

// maySign reports whether the version can sign and was not withdrawn. A deleted version signs only while a newer one is present
// that does not sign yet.
func (m *member) maySign(members []member) bool {
	if m.deleted.IsZero() {
		return true
	}
	if !m.Local {
		return false
	}
	newest := &members[len(members)-1]
	return newest.deleted.IsZero() && newest.Signer.KeyID() != m.Signer.KeyID()
}

// published reports whether the version verifies at now: until linger has passed since the next one began to sign, or since it was
// withdrawn.
func (t timing) published(members []member, i int, now time.Time) bool {
	m, current := &members[i], t.current(members, now)
	if i == current || i > current && m.deleted.IsZero() {
		return true
	}
	end := m.deleted
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
