package event

// Kind says what an event is about.
type Kind uint8

// The kinds. Outcome and Reason say how an event ended.
const (
	// Request: a request is complete; Event.Served has the details.
	Request Kind = iota
	// TokenVerified: a token was accepted and gave an identity. TokenRefused: a token was refused; Reason says why.
	TokenVerified
	TokenRefused
	// AuthorizationRefused, LimitHit, PasswordRefused and RequestRefused: a rule of authorization, of a rate limit, of the
	// password policy, or of another stage refused a request. Stage and Rule name the rule, and Reason is the problem's code. In shadow mode the
	// request continued.
	AuthorizationRefused
	LimitHit
	PasswordRefused
	RequestRefused
	// Login: the app authenticated a user, who was logged in or not.
	Login
	// LoginAttempt: an attempt to log in at a protected route ended; Refused if the password was wrong, or if the app did not get the attempt,
	// for example because the account is locked. Reason says why. A policy that issues tokens also emits Login. ResetRequest: somebody asked
	// for a reset of a password. Each attempt has one event.
	LoginAttempt
	ResetRequest
	// LoginLocked: a limit of failed logins was reached; Reason says which.
	LoginLocked
	// LoginIgnored: the app named a subject in a response that logs nobody in; Reason says why.
	LoginIgnored
	// Refresh: a refresh token was presented; Reason is the result. RefreshReused: the token had been rotated before,
	// which is the sign of a stolen token. Its session was ended.
	Refresh
	RefreshReused
	// Logout, LogoutAll and LogoutSession: a user ended the current session, all of their sessions, or one of them.
	Logout
	LogoutAll
	LogoutSession
	// BackChannelLogout: an external issuer reported the logout of a user.
	BackChannelLogout
	// SessionEnded: a session was ended on purpose, by its owner or by someone else. SessionEvicted: a session was
	// ended because a new one exceeded the limit.
	SessionEnded
	SessionEvicted
	// SessionLimit and SessionDevice: a login beyond the limit, or a refresh from another device, was allowed in
	// shadow mode.
	SessionLimit
	SessionDevice
	// Revocation: a token, a session, all tokens of a subject, or a key was revoked; Reason says which of these.
	Revocation
	// PolicyActivated: a policy became active.
	PolicyActivated
	// Lifecycle: a resource of the app, such as a user, was created, updated or deleted; Resource and Changes say which and how.
	Lifecycle
	// Admin: an operator acted through the command line or the app's API; Reason says what was done, PerformedBy by whom.
	Admin
	// AuditDropped: events could not be kept for the audit trail.
	AuditDropped

	kinds
)

// String returns the kind's stable name.
func (k Kind) String() string {
	if k < kinds {
		return names()[k]
	}
	return "unknown"
}

func names() [kinds]string {
	return [kinds]string{
		Request: "request", TokenVerified: "token_verified", TokenRefused: "token_refused",
		AuthorizationRefused: "authorization_refused", LimitHit: "limit_hit", PasswordRefused: "password_refused", RequestRefused: "request_refused",
		Login: "login", LoginAttempt: "login_attempt", ResetRequest: "reset_request", LoginLocked: "login_locked", LoginIgnored: "login_ignored", Refresh: "refresh", RefreshReused: "refresh_reused",
		Logout: "logout", LogoutAll: "logout_all", LogoutSession: "logout_session", BackChannelLogout: "backchannel_logout",
		SessionEnded: "session_ended", SessionEvicted: "session_evicted", SessionLimit: "session_limit", SessionDevice: "session_device",
		Revocation: "revocation", PolicyActivated: "policy_activated",
		Lifecycle: "lifecycle", Admin: "admin", AuditDropped: "audit_dropped",
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

// Outcome is the result of an event.
type Outcome string

// The outcomes. Failed: a store, a key or a service was unavailable. Shadow: the request was refused but not stopped.
const (
	Success Outcome = "success"
	Refused Outcome = "refused"
	Failed  Outcome = "failed"
	Shadow  Outcome = "shadow"
)
