package check

import (
	"fmt"
	"strings"

	"github.com/posterndev/postern/api/compiled"
)

// maxJSONPath bounds the number of names in a path.
const maxJSONPath = 8

// JSONPath refuses a text that is not a path of JSON members, such as user.email.
func JSONPath(path string) error {
	names := strings.Split(path, ".")
	if len(names) > maxJSONPath {
		return fmt.Errorf("%.100q has more than %d names; write a shorter path, for example user.email", path, maxJSONPath)
	}
	for _, name := range names {
		if name == "" || strings.ContainsFunc(name, notInPath) {
			return fmt.Errorf("%.100q is not a path; write names of letters, digits, - and _ with dots between them, for example user.email", path)
		}
	}
	return nil
}

func notInPath(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
}

// requestField checks where a text is in a request.
func (c *checker) requestField(field string, f compiled.RequestField) {
	places := 0
	for _, given := range []bool{f.JSON != "" || f.Form != "", f.Header != "", f.Basic} {
		if given {
			places++
		}
	}
	if places != 1 {
		c.addf(field, "write where the text is: json, form or both, or header, or basicAuth, for example {json: email}")
	}
	if f.JSON != "" {
		c.add(field+".json", JSONPath(f.JSON))
	}
	if f.Header != "" {
		c.add(field+".header", AccountHeader(f.Header))
	}
}
