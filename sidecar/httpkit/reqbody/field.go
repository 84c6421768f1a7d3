package reqbody

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/posterndev/postern/api/check"
)

// Selector says where a field is in a body. Field refuses a body of a kind for which the Selector has no place,
// because a client must not bypass a rule by sending the field in another format.
type Selector struct {
	// JSON is the path of member names from the top of the object, as ParsePath returns it; empty if only forms have
	// the field.
	JSON []string
	// Form is the parameter's name; empty if only JSON has the field.
	Form string
}

// ParsePath reads a path of JSON members, such as "user.email". Names consist of letters, digits, hyphens and
// underscores.
func ParsePath(path string) ([]string, error) {
	if err := check.JSONPath(path); err != nil {
		return nil, fmt.Errorf("parsing JSON path: %w", err)
	}
	return strings.Split(path, "."), nil
}

// Field returns the text of a field, and whether the body has it. An empty body does not have the field, and neither
// has a body in which its value is null.
//
// It refuses a body that two parsers could read as different values: a field that occurs twice; JSON members whose
// names differ only in case, because many decoders ignore case; and parameters that PHP, Rails, Express or Spring treat
// as the wanted one (password[], [password], !password, PASSWORD, a name with a NUL or a leading space). It also refuses a field that is not a
// string.
func (b *Body) Field(s Selector) (value string, found bool, err error) {
	switch {
	case b.isEmpty():
		return "", false, nil
	case b.kindErr != nil:
		return "", false, b.kindErr
	case b.kind == form && s.Form != "":
		return b.parameter(s.Form)
	case b.kind == jsonObject && len(s.JSON) > 0:
		return b.member(s.JSON)
	}
	return "", false, unsupported("The body's Content-Type is not one in which this field is accepted.")
}

func (b *Body) parameter(wanted string) (string, bool, error) {
	values, err := b.Form()
	if err != nil {
		return "", false, err
	}
	folded, index := flat(wanted), plain(wanted)+"["
	for name := range values {
		if name != wanted && (flat(name) == folded || strings.HasPrefix(plain(name), index)) {
			return "", false, malformed("The form has a field under a name that can be read in two ways.", nil)
		}
	}
	switch found := values[wanted]; {
	case len(found) == 0:
		return "", false, nil
	case len(found) > 1:
		return "", false, malformed("The form has a field more than once.", nil)
	case !utf8.ValidString(found[0]):
		return "", false, malformed("The form is not UTF-8.", nil)
	default:
		return found[0], true, nil
	}
}

// NotInQuery refuses a raw query that has the parameter, in any spelling that Field refuses in a form: some apps prefer it to the body's
// (Servlet's getParameter), and some accept it in place of the body's. It also refuses a query that parsers could read in two ways.
func NotInQuery(query, wanted string) error {
	folded, index := flat(wanted), plain(wanted)+"["
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return malformed("The query is malformed.", nil)
		}
		if flat(name) == folded || strings.HasPrefix(plain(name), index) {
			return malformed("The query has a field that belongs into the body.", nil)
		}
	}
	return nil
}

// plain returns a parameter's name as lenient apps read it: only up to a NUL, which ends a C string, in one case, and
// without what some remove from its start: spaces (PHP), brackets (Rack 2 and Express), and the mark of a default value (Spring).
func plain(name string) string {
	name, _, _ = strings.Cut(name, "\x00")
	return strings.ToLower(strings.TrimLeft(name, " \t[]!"))
}

// flat returns the same for the different ways to write a nested name: user[email], user.email, and PHP's user_email.
func flat(name string) string { return flattened.Replace(plain(name)) }

var flattened = strings.NewReplacer("[", "_", "]", "", ".", "_", " ", "_")

func (b *Body) member(path []string) (string, bool, error) {
	object, err := b.Object()
	if err != nil {
		return "", false, err
	}
	for i, name := range path {
		value, ok, err := lookUp(object, name)
		switch {
		case err != nil:
			return "", false, malformed("The JSON has a member under a name that can be read in two ways.", err)
		case !ok || value == nil:
			return "", false, nil
		}
		if i == len(path)-1 {
			text, ok := value.(string)
			if !ok {
				return "", false, malformed("A member of the JSON is not a string.", nil)
			}
			return text, true, nil
		}
		if object, ok = value.(map[string]any); !ok {
			return "", false, malformed("A member of the JSON is not an object.", nil)
		}
	}
	return "", false, nil
}

var errCase = errors.New("looking up JSON member: another member's name differs only in case")

// lookUp returns the member, and an error if another member's name differs only in case.
func lookUp(object map[string]any, wanted string) (value any, ok bool, err error) {
	for name := range object {
		if name != wanted && strings.EqualFold(name, wanted) {
			return nil, false, errCase
		}
	}
	value, ok = object[wanted]
	return value, ok, nil
}
