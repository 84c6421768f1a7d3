package v1alpha1

// PasswordRules is what a new password must satisfy. The defaults follow NIST SP 800-63B-4. Passwords are compared in their NFKC form;
// the app gets the bytes that the client sent.
type PasswordRules struct {
	// SecondFactor says that users always log in with a second factor too. The default of minLength is then 8.
	// +optional
	SecondFactor bool `json:"secondFactor,omitempty"`
	// MinLength is the minimum number of Unicode code points.
	// +optional
	// +kubebuilder:validation:Minimum=8
	// +kubebuilder:validation:Maximum=64
	MinLength int32 `json:"minLength,omitempty"`
	// MaxLength is the maximum number of Unicode code points. NIST requires at least 64.
	// +optional
	// +kubebuilder:validation:Minimum=64
	// +kubebuilder:validation:Maximum=1024
	MaxLength int32 `json:"maxLength,omitempty"`
	// Blocklist is the list of refused passwords: Common has the 47000 most common passwords, and refuses their repetition and simple
	// sequences too. None refuses none.
	// +optional
	Blocklist PasswordBlocklist `json:"blocklist,omitempty"`
	// ContextWords are names that attackers try first, such as that of the service. A password that has fewer than 8 code points besides
	// them, the account's name, its parts, and the namespace and name of the policy is refused. Upper and lower case are the same.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=3
	// +kubebuilder:validation:items:MaxLength=64
	ContextWords []string `json:"contextWords,omitempty"`
	// MinScore is the lowest accepted score of an estimate of its guesses, with the steps of zxcvbn, from 1 (very easy to guess) to 4 (hard to guess). 0 computes no
	// score.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4
	MinScore int32 `json:"minScore,omitempty"`
	// BreachedPasswords refuses passwords that are known from data breaches. If it is unset, no server is asked.
	// +optional
	BreachedPasswords *BreachedPasswords `json:"breachedPasswords,omitempty"`
	// Require lists kinds of characters of which a password needs one. NIST says that such rules shall not be imposed, because users
	// meet them in ways that are easy to guess.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=4
	Require []PasswordCharacters `json:"require,omitempty"`
	// Remember refuses a new password that is one of the account's last ones: as many as this number. On routes it is judged only if the
	// caller is authenticated as the account; see accountClaim. Every route then needs account. 0 remembers none.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=24
	Remember int32 `json:"remember,omitempty"`
	// MaxAge is how old a password may be, at least 1d. On the login routes of loginProtection the app gets the request header
	// Postern-Password-Expired: true for an account whose password is older. If it is unset, passwords do not expire.
	// +optional
	MaxAge Age `json:"maxAge,omitempty"`
	// AccountClaim is the claim of the caller's token that names the account as users write it, such as email. It can be a path with dots.
	// It must be one that callers cannot choose, at any accepted issuer.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	AccountClaim string `json:"accountClaim,omitempty"`
	// Shadow lists rules whose refusals are only counted and logged, by the codes of their refusals, such as context-word.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	Shadow []PasswordRule `json:"shadow,omitempty"`
}

// PasswordBlocklist is a list of refused passwords.
// +kubebuilder:validation:Enum=Common;None
type PasswordBlocklist string

const (
	// BlocklistCommon refuses the most common passwords.
	BlocklistCommon PasswordBlocklist = "Common"
	// BlocklistNone refuses none.
	BlocklistNone PasswordBlocklist = "None"
)

// PasswordCharacters is a kind of characters.
// +kubebuilder:validation:Enum=Lower;Upper;Digit;Symbol
type PasswordCharacters string

// PasswordRule is the code of a rule.
// +kubebuilder:validation:Enum=missing;too-short;too-long;invalid-characters;common;context-word;too-weak;missing-lower;missing-upper;missing-digit;missing-symbol;breached;reused;confirmation-mismatch;body
type PasswordRule string

// PasswordRoute is a route with which users register, or reset or change their password.
type PasswordRoute struct {
	// Match selects requests: one match is enough.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Match []RouteMatch `json:"match"`
	// Password is the field with the new password.
	Password PasswordField `json:"password"`
	// Confirmation is the field in which the user repeats the password. It must have the same value.
	// +optional
	Confirmation *PasswordField `json:"confirmation,omitempty"`
	// Account is the field with the name or e-mail address of the account.
	// +optional
	Account *PasswordField `json:"account,omitempty"`
	// Optional lets requests without a password pass, for routes that change other things too. Otherwise they are refused.
	// +optional
	Optional bool `json:"optional,omitempty"`
}

// PasswordField is a field of a request's body. A body of a kind for which it has no place is refused.
//
// +kubebuilder:validation:XValidation:rule="has(self.json) || has(self.form)",message="the field has no place: write {json: user.password}, {form: password} or both"
type PasswordField struct {
	// JSON is the path of member names with dots between them, such as user.password.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	JSON string `json:"json,omitempty"`
	// Form is the name of the parameter of a form.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Form string `json:"form,omitempty"`
}

// Defaults of the rules.
const (
	DefaultPasswordMinLength       = 15
	DefaultPasswordMinSecondFactor = 8
	DefaultPasswordMaxLength       = 128
	DefaultPasswordBlocklist       = BlocklistCommon
	// DefaultPasswordMethod is the method of a route without methods.
	DefaultPasswordMethod = "POST"
)

func (p *PasswordPolicy) setRuleDefaults() {
	if p.Rules == nil && len(p.Routes) == 0 {
		return
	}
	set(&p.Mode, DefaultMode)
	r := ensure(&p.Rules)
	if r.SecondFactor {
		set(&r.MinLength, DefaultPasswordMinSecondFactor)
	}
	set(&r.MinLength, DefaultPasswordMinLength)
	set(&r.MaxLength, DefaultPasswordMaxLength)
	set(&r.Blocklist, DefaultPasswordBlocklist)
	if r.BreachedPasswords != nil {
		r.BreachedPasswords.setDefaults()
	}
	p.setHistoryDefaults()
	for i := range p.Routes {
		for j := range p.Routes[i].Match {
			if m := &p.Routes[i].Match[j]; len(m.Methods) == 0 {
				m.Methods = []string{DefaultPasswordMethod}
			}
		}
	}
}
