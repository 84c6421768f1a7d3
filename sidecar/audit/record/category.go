package record

import (
	"slices"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// Category is a group of actions that a policy records or does not.
type Category string

// The categories.
const (
	Authentication Category = "Authentication"
	Session        Category = "Session"
	Authorization  Category = "Authorization"
	RateLimit      Category = "RateLimit"
	Password       Category = "Password"
	APIKey         Category = "APIKey"
	Admin          Category = "Admin"
	Lifecycle      Category = "Lifecycle"
)

// Categories returns all categories, in the order of the documentation.
func Categories() []Category {
	return []Category{Authentication, Session, Authorization, RateLimit, Password, APIKey, Admin, Lifecycle}
}

// recorded says how events of a kind are recorded. The kinds Request and TokenVerified are not recorded, because each request has them; API
// keys are, see Classify.
func recorded(k event.Kind) (Class, bool) {
	switch k {
	case event.TokenRefused:
		return Class{Authentication, "token_refused", true}, true
	case event.Login:
		return Class{Authentication, "login", false}, true
	case event.LoginAttempt:
		return Class{Authentication, "login_failed", true}, true
	case event.LoginLocked:
		return Class{Authentication, "login_locked", true}, true
	case event.LoginIgnored:
		return Class{Authentication, "login_ignored", false}, true
	case event.Refresh:
		return Class{Session, "token_refresh", true}, true
	case event.RefreshReused:
		return Class{Session, "refresh_token_reused", false}, true
	case event.Logout:
		return Class{Session, "logout", false}, true
	case event.LogoutAll:
		return Class{Session, "logout_all", false}, true
	case event.LogoutSession:
		return Class{Session, "logout_session", false}, true
	case event.BackChannelLogout:
		return Class{Session, "backchannel_logout", true}, true
	case event.SessionEnded:
		return Class{Session, "session_ended", false}, true
	case event.SessionEvicted:
		return Class{Session, "session_evicted", false}, true
	case event.SessionLimit:
		return Class{Session, "session_limit", false}, true
	case event.SessionDevice:
		return Class{Session, "session_device", false}, true
	case event.Revocation:
		return Class{Session, "revocation", false}, true
	case event.AuthorizationRefused:
		return Class{Authorization, "authorization_refused", true}, true
	case event.LimitHit:
		return Class{RateLimit, "limit_hit", true}, true
	case event.PasswordRefused:
		return Class{Password, "password_refused", true}, true
	case event.ResetRequest:
		return Class{Password, "password_reset_requested", true}, true
	case event.PolicyActivated:
		return Class{Admin, "policy_activated", false}, true
	case event.Admin:
		return Class{Admin, "", false}, true
	case event.AuditDropped:
		return Class{Admin, "audit_dropped", false}, true
	case event.Lifecycle:
		return Class{Lifecycle, "", false}, true
	}
	return Class{}, false
}

// Classifier says which events of a policy are recorded, and how.
type Classifier struct {
	// KeyIssuers are the issuers of the identities of API keys and of users with passwords.
	KeyIssuers []string
	// IssuesTokens says that the policy issues tokens: a login then has an event of its own.
	IssuesTokens bool
}

// Class is how an event is recorded.
type Class struct {
	Category Category
	Action   string
	// Public says that a client without a valid credential can cause any number of these events.
	Public bool
}

// Classify returns how e is recorded. ok is false if it is not.
func (c Classifier) Classify(e *event.Event) (class Class, ok bool) {
	class, ok = recorded(e.Kind)
	switch e.Kind {
	case event.TokenVerified:
		return Class{APIKey, apiKeyUsed, false}, slices.Contains(c.KeyIssuers, e.Issuer)
	case event.TokenRefused:
		if slices.Contains(c.KeyIssuers, e.Issuer) {
			class = Class{APIKey, apiKeyRefused, true}
		}
	case event.LoginAttempt:
		if e.Outcome == event.Success {
			return Class{Authentication, "login", false}, !c.IssuesTokens
		}
	case event.Refresh, event.BackChannelLogout:
		class.Public = class.Public && e.Outcome != event.Success // it needs a credential
	case event.Lifecycle:
		class.Action = string(e.Resource.Action)
	case event.Admin:
		class.Action = e.Reason
	}
	return class, ok && class.Action != ""
}

// Kinds returns the kinds of events from which records of the categories are made.
func Kinds(of []Category) event.Kinds {
	var set event.Kinds
	for k := event.Kind(0); k.String() != "unknown"; k++ {
		if class, ok := recorded(k); ok && slices.Contains(of, class.Category) {
			set |= event.Of(k)
		}
	}
	if slices.Contains(of, APIKey) {
		set |= event.Of(event.TokenVerified, event.TokenRefused)
	}
	return set
}
