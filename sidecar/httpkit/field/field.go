// Package field has the common parts of reading header fields: their names, and lists of tokens.
//
// Names are compared as the most lenient app compares them: case is ignored, and all characters other than letters
// and digits are equal, because CGI, WSGI and PHP make the same variable of X-User, X_User and (lighttpd, old Apache)
// X.User.
package field

import (
	"iter"
	"net/http"
	"strings"

	"github.com/posterndev/postern/api/check/fieldset"
)

// maxTokens bounds how many elements of a list are read. A list of a thousand elements is an attack.
const maxTokens = 1000

// Names is a set of field names. The operator uses the same type.
type Names = fieldset.Names

// NewNames returns the set of names. A name that ends in * matches every name with the prefix before the *.
func NewNames(names ...string) Names { return fieldset.New(names...) }

// Elements yields the elements of a comma-separated list (RFC 9110 §5.6.1) that may span several lines, without
// surrounding whitespace. Empty elements are skipped. Quoted strings are not supported: the lists read here contain
// none.
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

// HasElement reports whether the list contains the token, ignoring case.
func HasElement(lines []string, token string) bool {
	for element := range Elements(lines) {
		if strings.EqualFold(element, token) {
			return true
		}
	}
	return false
}

// AddVary adds the named fields to the response's Vary (RFC 9110 §12.5.5), except those that the app has named
// already.
func AddVary(h http.Header, names ...string) {
	for _, name := range names {
		if lines := h["Vary"]; !HasElement(lines, name) && !HasElement(lines, "*") {
			h["Vary"] = append(lines[:len(lines):len(lines)], name)
		}
	}
}
