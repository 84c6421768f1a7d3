package subject

// Part is a part of what is stored.
type Part string

// The parts.
const (
	PartSessions    Part = "sessions"
	PartRevocations Part = "revocations"
	PartLogins      Part = "logins"
	PartPasswords   Part = "passwords"
	PartRateLimits  Part = "rate_limits"
	PartDevices     Part = "known_devices"
)

// Why is why a part is not in a response.
type Why string

// The reasons.
const (
	// NotEnabled: the policy has no such section. NoSubject and NoAccount: the request does not name one. NotByPerson: it is stored, but not so that
	// it could be found by a name.
	NotEnabled  Why = "not-enabled"
	NoSubject   Why = "subject-not-given"
	NoAccount   Why = "account-not-given"
	NotByPerson Why = "not-stored-by-person"
)

// Omission is a part that is not in a response.
type Omission struct {
	Part   Part `json:"part"`
	Reason Why  `json:"reason"`
}

// omitted returns the parts that are left out for p.
func (s *Stores) omitted(p Person) []Omission {
	var out []Omission
	leave := func(part Part, enabled, named bool, unnamed Why) {
		switch {
		case !enabled:
			out = append(out, Omission{part, NotEnabled})
		case !named:
			out = append(out, Omission{part, unnamed})
		}
	}
	leave(PartSessions, s.Sessions != nil, p.Owner.Subject != "", NoSubject)
	leave(PartRevocations, s.Revocations != nil, p.Owner.Subject != "", NoSubject)
	leave(PartLogins, s.Logins != nil, p.Account != "", NoAccount)
	leave(PartPasswords, s.Passwords != nil, p.Account != "", NoAccount)
	return append(out, Omission{PartRateLimits, NotByPerson}, Omission{PartDevices, NotByPerson})
}
