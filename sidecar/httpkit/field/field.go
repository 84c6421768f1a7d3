// Package field reads what header fields have in common: their names, and lists of tokens.
//
// Names are compared as the least careful app behind us does: letters of either case are one, and every other character
// but digits is one, since CGI, WSGI and PHP make the same variable of X-User, X_User and (lighttpd, old Apache) X.User.
package field

import (
	"iter"
	"net/http"
	"strings"

	"github.com/posterndev/postern/api/check/fieldset"
)

// maxTokens bounds how many elements of a list are looked at; a list of a thousand is an attack, not a wish.
const maxTokens = 1000

// Names is a set of field names, which the operator knows as well.
type Names = fieldset.Names

// NewNames returns the set of names. One that ends in * stands for every name that begins with what is before it.
func NewNames(names ...string) Names { return fieldset.New(names...) }

// Elements yields the elements of a comma-separated list (RFC 9110 §5.6.1) that may span several lines, without the
// space around them. Empty elements are left out. Quoted strings are not known: the lists read here hold none.
func Elements(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		n := 0
		for _, line := range lines {
			for element := range strings.SplitSeq(line, ",") {
				if n++; n > maxTokens {
					return
				}
				if element = strings.Trim(element, " \t"); element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

// HasElement reports whether the list holds the token, in either case.
func HasElement(lines []string, token string) bool {
	for element := range Elements(lines) {
		if strings.EqualFold(element, token) {
			return true
		}
	}
	return false
}

// AddVary makes the response vary by the named fields (RFC 9110 §12.5.5), leaving out what the app named already.
func AddVary(h http.Header, names ...string) {
	for _, name := range names {
		if lines := h["Vary"]; !HasElement(lines, name) && !HasElement(lines, "*") {
			h["Vary"] = append(lines[:len(lines):len(lines)], name)
		}
	}
}
