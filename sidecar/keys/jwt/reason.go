package jwt

import (
	"errors"
	"fmt"
)

// Reason is why a token is refused: a stable name, for metrics, logs and events. Packages that check more than this one does
// have reasons of their own.
type Reason string

// The reasons. Unavailable alone says nothing about the token: the issuer's keys are not known at present.
const (
	Malformed       Reason = "malformed"
	TooLarge        Reason = "too_large"
	Encrypted       Reason = "encrypted"
	Critical        Reason = "critical_header"
	UnknownIssuer   Reason = "unknown_issuer"
	WrongType       Reason = "wrong_type"
	WrongAlgorithm  Reason = "wrong_algorithm"
	WrongAudience   Reason = "wrong_audience"
	Expired         Reason = "expired"
	NotYetValid     Reason = "not_yet_valid"
	LifetimeTooLong Reason = "lifetime_too_long"
	UnknownKey      Reason = "unknown_key"
	BadSignature    Reason = "bad_signature"
	Unavailable     Reason = "keys_unavailable"
)

// Error makes a Reason an error; it holds no input.
func (r Reason) Error() string { return "verifying token: " + string(r) }

// Because adds a cause for the log to a reason.
func Because(r Reason, cause error) error { return fmt.Errorf("%w: %w", r, cause) }

// ReasonOf finds the reason in err; an error without one counts as Malformed.
func ReasonOf(err error) Reason {
	var r Reason
	if errors.As(err, &r) {
		return r
	}
	return Malformed
}
