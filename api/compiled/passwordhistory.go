package compiled

import "errors"

// PasswordHistory is the rules about old passwords.
type PasswordHistory struct {
	// Remember is how many of an account's passwords are remembered; 0 for none.
	Remember int `json:"remember,omitempty"`
	// MaxAge is the age at which a password has expired; 0 for never.
	MaxAge Duration `json:"maxAge,omitempty"`
	// AccountClaim is the claim of the caller's token that names the account.
	AccountClaim string      `json:"accountClaim"`
	OnFailure    FailureMode `json:"onFailure"`
}

func (h *PasswordHistory) validate() error {
	if h.AccountClaim == "" || h.Remember == 0 && h.MaxAge == 0 {
		return errors.New("history: accountClaim, and remember or maxAge are required")
	}
	return wrap(oneOf("onFailure", h.OnFailure, Deny, Allow), "history")
}
