package keyset

import (
	"errors"
	"fmt"
	"strings"
)

// Reason is why a key of a set is not used. It is a label of a metric.
type Reason string

// Reasons.
const (
	// Malformed: it is not an object, a member is missing or cannot be decoded, or its point is not on its curve.
	Malformed Reason = "malformed"
	// OtherUse: it is for another use, such as encryption.
	OtherUse Reason = "use"
	// OtherAlgorithm: the provider does not allow its algorithm, or no algorithm exists for its type and curve.
	OtherAlgorithm Reason = "algorithm"
	// OtherIssuer: its issuer member names another issuer.
	OtherIssuer Reason = "issuer"
	// SharedSecret: it is a shared secret in a set that others can read.
	SharedSecret Reason = "symmetric"
	// Weak: it is too short, or its private key can be computed.
	Weak Reason = "weak"
)

// Dropped is a key of a set that is not used.
type Dropped struct {
	// Index is the position in the set, from 0.
	Index  int
	Reason Reason
	// Text says why, in words. It contains none of the key's values.
	Text string
}

// String returns a text such as "key 1: it is for encryption (use: enc)".
func (d Dropped) String() string { return fmt.Sprintf("key %d: %s", d.Index, d.Text) }

// refusal is the error of a key that is not used.
type refusal struct {
	reason Reason
	text   string
}

func (r *refusal) Error() string { return r.text }

func refuse(reason Reason, format string, args ...any) error {
	return &refusal{reason: reason, text: fmt.Sprintf(format, args...)}
}

func dropped(index int, err error) Dropped {
	var r *refusal
	if errors.As(err, &r) {
		return Dropped{Index: index, Reason: r.reason, Text: r.text}
	}
	return Dropped{Index: index, Reason: Malformed, Text: err.Error()}
}

// maxSummary is the number of dropped keys that Summary describes.
const maxSummary = 4

// Summary describes the first dropped keys in one line, without the keys' values.
func Summary(list []Dropped) string {
	texts := make([]string, 0, maxSummary+1)
	for i, d := range list {
		if i == maxSummary {
			texts = append(texts, fmt.Sprintf("and %d more", len(list)-maxSummary))
			break
		}
		texts = append(texts, d.String())
	}
	return strings.Join(texts, "; ")
}
