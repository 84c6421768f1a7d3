// Package passwordrules judges a new password by rules. The defaults follow NIST SP 800-63B-4 §3.1.1.2. It is pure: it keeps
// nothing, and no failure contains a part of the password.
package passwordrules

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Code is the stable name of a rule, in responses, metrics and logs.
type Code string

// The rules of a password.
const (
	TooShort          Code = "too-short"
	TooLong           Code = "too-long"
	InvalidCharacters Code = "invalid-characters"
	Common            Code = "common"
	Context           Code = "context-word"
	Weak              Code = "too-weak"
	MissingLower      Code = "missing-lower"
	MissingUpper      Code = "missing-upper"
	MissingDigit      Code = "missing-digit"
	MissingSymbol     Code = "missing-symbol"
)

// The classes of characters of Rules.Require, and the code of each.
var classes = []struct {
	name   string
	code   Code
	has    func(rune) bool
	detail string
}{
	{"Lower", MissingLower, unicode.IsLower, "The password needs a lower-case letter."},
	{"Upper", MissingUpper, unicode.IsUpper, "The password needs an upper-case letter."},
	{"Digit", MissingDigit, unicode.IsDigit, "The password needs a digit."},
	{"Symbol", MissingSymbol, isSymbol, "The password needs a character that is neither a letter nor a digit."},
}

func isSymbol(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) }

// Rules is what a password must satisfy. A zero value has only the rules that always apply: no control characters, at most MaxBytes.
type Rules struct {
	// MinLength and MaxLength are in code points; 0 for no bound.
	MinLength, MaxLength int
	// Blocklist refuses common passwords.
	Blocklist bool
	// ContextWords are the names of the service and its like. The account of a request is added to them.
	ContextWords []string
	// MinScore is the lowest accepted score, 0 to 4. 0 computes no score.
	MinScore int
	// Require lists classes of which the password must have a character: Lower, Upper, Digit, Symbol.
	Require []string
}

// A Failure is a rule that the password does not satisfy. Detail is a sentence for the client.
type Failure struct {
	Code   Code
	Detail string
}

// Bounds of what is judged. MaxBytes is the size in bytes above which a password is only too long. maxScored is the number of code
// points that are scored: the time grows faster than the length. The rest could only raise the score.
const (
	MaxBytes  = 4096
	maxScored = 64
)

// Fold returns what is compared: NFKC, case folded, and NFKC again, because folding can undo it.
func Fold(text string) string { return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(text))) }

// Judge returns every rule that the password does not satisfy, in a fixed order. account is the name or e-mail address of the
// account; empty for none. Text that is not UTF-8 has invalid characters.
func (r Rules) Judge(password, account string) []Failure {
	if len(password) > MaxBytes {
		return []Failure{{TooLong, r.tooLong()}}
	}
	normal := norm.NFKC.String(password)
	// NFKC can turn one code point into 18, which must not make a short password long, nor a permitted one too long.
	typed := utf8.RuneCountInString(password)
	shortest := min(typed, utf8.RuneCountInString(normal))
	var failures []Failure
	add := func(failed bool, code Code, detail string) {
		if failed {
			failures = append(failures, Failure{code, detail})
		}
	}
	add(shortest < r.MinLength, TooShort, fmt.Sprintf("The password needs at least %d characters.", r.MinLength))
	add(r.MaxLength > 0 && typed > r.MaxLength, TooLong, r.tooLong())
	add(!utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl), InvalidCharacters, "The password contains a control character.")
	folded := Fold(password)
	add(r.Blocklist && isCommon(folded), Common, "The password is one of the most common ones, or a simple repetition or sequence.")
	add(r.hasOnlyContext(folded, account), Context, "The password consists mostly of the name of the account or of the service.")
	for _, c := range classes {
		add(slices.Contains(r.Require, c.name) && !strings.ContainsFunc(normal, c.has), c.code, c.detail)
	}
	add(r.MinScore > 0 && r.score(normal, account) < r.MinScore, Weak, "The password is too easy to guess. Use more words, or words that are less common.")
	return failures
}

func (r Rules) tooLong() string {
	if r.MaxLength == 0 {
		return fmt.Sprintf("The password has more than %d bytes.", MaxBytes)
	}
	return fmt.Sprintf("The password can have at most %d characters.", r.MaxLength)
}
