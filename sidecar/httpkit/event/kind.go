package event

// Kind is what an event is about.
type Kind uint8

// The kinds. Outcome and Reason say how each went.
const (
	// Request: a request has been answered; Event.Served has the details.
	Request Kind = iota
	// TokenVerified: a token gave an identity. TokenRefused: one did not; Reason is why.
	TokenVerified
	TokenRefused
	// AuthorizationRefused, LimitHit and RequestRefused: a rule refused a request, by authorization, by a rate limit, or by any
	// other stage. Stage and Rule name it, and Reason is the problem's code. In shadow the request went on.
	AuthorizationRefused
	LimitHit
	RequestRefused
	// Login: the app recognised a person, who was logged in or not.
	Login
	// Refresh: a refresh token was presented; Reason is its outcome. RefreshReused: it had been rotated before, which is how a
	// stolen one shows; its session has ended.
	Refresh
	RefreshReused
	// Logout, LogoutAll and LogoutSession: people ended their present session, all of them, or one of them.
	Logout
	LogoutAll
	LogoutSession
	// BackChannelLogout: an external issuer said that a person has logged out.
	BackChannelLogout
	// SessionEnded: a session was ended on purpose, by its owner or by others. SessionEvicted: it made room for another one.
	SessionEnded
	SessionEvicted
	// SessionLimit and SessionDevice: a login beyond the cap, and a refresh from another device, passed in shadow.
	SessionLimit
	SessionDevice
	// Revocation: a token, a session, a subject's tokens or a key was revoked; Reason is which of them.
	Revocation
	// PolicyActivated: a policy came into force.
	PolicyActivated

	kinds
)

// String is the kind's stable name.
func (k Kind) String() string {
	if k < kinds {
		return names()[k]
	}
	return "unknown"
}

func names() [kinds]string {
	return [kinds]string{
		Request: "request", TokenVerified: "token_verified", TokenRefused: "token_refused",
		AuthorizationRefused: "authorization_refused", LimitHit: "limit_hit", RequestRefused: "request_refused",
		Login: "login", Refresh: "refresh", RefreshReused: "refresh_reused",
		Logout: "logout", LogoutAll: "logout_all", LogoutSession: "logout_session", BackChannelLogout: "backchannel_logout",
		SessionEnded: "session_ended", SessionEvicted: "session_evicted", SessionLimit: "session_limit", SessionDevice: "session_device",
		Revocation: "revocation", PolicyActivated: "policy_activated",
	}
}

// Kinds is a set of kinds.
type Kinds uint32

// Of returns the set of kinds.
func Of(kinds ...Kind) Kinds {
	var set Kinds
	for _, k := range kinds {
		set |= 1 << k
	}
	return set
}

// Has reports whether k is in the set.
func (s Kinds) Has(k Kind) bool { return s&(1<<k) != 0 }

// Outcome is how it went.
type Outcome string

// The outcomes. Failed: a store, a key or a service did not respond. Shadow: it was refused and let pass.
const (
	Success Outcome = "success"
	Refused Outcome = "refused"
	Failed  Outcome = "failed"
	Shadow  Outcome = "shadow"
)
