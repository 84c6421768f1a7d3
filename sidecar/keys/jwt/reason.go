package jwt

import (
	"errors"
	"fmt"
)

// Reason is the reason why a token is refused. It is a stable name for metrics, logs and events. Packages with additional checks
// define additional reasons.
type Reason string

// The reasons. Unavailable is not about the token: the keys of the issuer are currently unknown.
const (
	Malformed       Reason = "malformed"
	TooLarge        Reason = "too_large"
	Encrypted       Reason = "encrypted"
	SeveralTokens   Reason = "several_tokens"
	Critical        Reason = "critical_header"
	ClaimType       Reason = "claim_type"
	ClaimRange      Reason = "claim_range"
	MissingClaim    Reason = "missing_claim"
	UnknownIssuer   Reason = "unknown_issuer"
	WrongType       Reason = "wrong_type"
	WrongAlgorithm  Reason = "wrong_algorithm"
	WrongAudience   Reason = "wrong_audience"
	Expired         Reason = "expired"
	Ended           Reason = "legacy_ended"
	NotYetValid     Reason = "not_yet_valid"
	LifetimeTooLong Reason = "lifetime_too_long"
	UnknownKey      Reason = "unknown_key"
	BadSignature    Reason = "bad_signature"
	Unavailable     Reason = "keys_unavailable"
)

// Error implements error. The text contains no input.
func (r Reason) Error() string { return "verifying token: " + string(r) }

// Because adds a cause to a reason. The cause is for the log.
func Because(r Reason, cause error) error { return fmt.Errorf("%w: %w", r, cause) }

// ReasonOf returns the reason in err, or Malformed if it has none.
func ReasonOf(err error) Reason {
	var r Reason
	if errors.As(err, &r) {
		return r
	}
	return Malformed
}
