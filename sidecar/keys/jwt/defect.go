package jwt

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Defect is the cause of a refusal because of one claim, or of one parameter of the header. It contains nothing of the token except
// the JSON type of the value.
type Defect struct {
	// Name is the name that this package or the policy gives the claim, so that the number of names is bounded. It is never read from
	// a token.
	Name string
	// InHeader is true for a parameter of the header.
	InHeader bool
	// Problem follows the name: "is a string; it must be a number".
	Problem string
}

// Error implements error.
func (d *Defect) Error() string {
	if d.InHeader {
		return "the header parameter " + d.Name + " " + d.Problem
	}
	return "the claim " + d.Name + " " + d.Problem
}

// ClaimOf returns the name of the claim or header parameter because of which a token was refused; empty if that was another reason.
func ClaimOf(err error) string {
	var d *Defect
	if errors.As(err, &d) {
		return d.Name
	}
	return ""
}

// BecauseOf returns reason with a Defect of a claim as its cause.
func BecauseOf(reason Reason, claim, format string, args ...any) error {
	return Because(reason, &Defect{Name: claim, Problem: fmt.Sprintf(format, args...)})
}

// TypeName returns the JSON type of a decoded value, with its article.
func TypeName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case json.Number, float64:
		return "a number"
	case bool:
		return "a boolean"
	case []any:
		return "an array"
	}
	return "an object"
}
