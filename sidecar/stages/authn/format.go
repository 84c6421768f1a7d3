package authn

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
)

// Format is the form in which a header carries a claim.
type Format string

// The formats. Empty is Auto.
const (
	// Auto sends a scalar as it is, a list of scalars joined by commas, and everything else as compact ASCII JSON. A text that could be
	// read in another way is sent in percent-encoded UTF-8 with a prefix; see auto.
	Auto Format = "Auto"
	// Text sends a scalar as it is, in UTF-8. Latin1 sends it in ISO 8859-1.
	Text   Format = "Text"
	Latin1 Format = "Latin1"
	// Percent sends a scalar, or a list of scalars joined by commas, in percent-encoded UTF-8.
	Percent Format = "Percent"
	// JSON sends any value as compact ASCII JSON, and Base64URL the same in base64url without padding.
	JSON      Format = "JSON"
	Base64URL Format = "Base64URL"
)

// Encoding is the encoding of text beyond ASCII in Auto.
type Encoding string

// The encodings. Empty is percent-encoded UTF-8 with a prefix, in which any app can read any text.
const (
	UTF8Fields    Encoding = "UTF8"
	Latin1Fields  Encoding = "Latin1"
	PercentFields Encoding = "Percent"
)

// extended is the prefix of a value in percent-encoded UTF-8 (RFC 8187 §3.2, without a language).
const extended = "UTF-8''"

// Errors of format. They contain nothing of the claim.
var (
	errNotText   = errors.New("it is not a string, number or boolean")
	errNotList   = errors.New("it is neither a string, number or boolean nor an array of them")
	errControl   = errors.New("it has a control character, or a space at an end")
	errNotLatin1 = errors.New("it has a character beyond ISO 8859-1")
)

// format returns a claim's value in the form of a header; empty for null.
func format(f Format, encoding Encoding, v any) (string, error) {
	if v == nil {
		return "", nil
	}
	if f == "" || f == Auto {
		if encoding != PercentFields || !isList(v) {
			return auto(encoding, v)
		}
		f = Percent
	}
	switch f {
	case Text:
		return textOf(v, UTF8Fields)
	case Latin1:
		return textOf(v, Latin1Fields)
	case Percent:
		return percent(v)
	}
	encoded, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encoding claim: %w", err)
	}
	if f == Base64URL {
		return base64.RawURLEncoding.EncodeToString(encoded), nil
	}
	return ascii(string(encoded)), nil
}

// auto is the format Auto. A comma in it always separates members, { and [ always begin JSON, and the prefix of RFC 8187 always begins
// percent-encoded members. So no claim looks like another one, except that a list of one member looks like the member.
func auto(encoding Encoding, v any) (string, error) {
	members, ok := scalarsOf(v)
	if !ok {
		encoded, err := json.Marshal(v)
		if err != nil {
			return "", fmt.Errorf("encoding claim: %w", err)
		}
		return ascii(string(encoded)), nil
	}
	for _, m := range members {
		if m != "" && (!visible(m, encoding) || ambiguous(m)) {
			return extended + percentList(members), nil
		}
	}
	text := strings.Join(members, ",")
	if encoding == Latin1Fields {
		text = latin1(text)
	}
	return text, nil
}

// ambiguous reports whether a text looks like a list, JSON or an encoded text.
func ambiguous(s string) bool {
	return strings.Contains(s, ",") || s[0] == '{' || s[0] == '[' || len(s) >= len(extended) && strings.EqualFold(s[:len(extended)], extended)
}

// visible reports whether a text can be in a header in this encoding: no control character, no space at an end.
func visible(s string, encoding Encoding) bool {
	last := rune('~')
	switch encoding {
	case UTF8Fields:
		last = unicode.MaxRune
	case Latin1Fields:
		last = 0xff
	}
	for _, r := range s {
		if isControl(r) || r > last {
			return false
		}
	}
	return strings.TrimSpace(s) == s
}

// isControl reports whether r is a control character of ISO 8859-1, or one of Unicode that ends a line.
func isControl(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029
}

func textOf(v any, encoding Encoding) (string, error) {
	text, ok := identity.Scalar(v)
	switch {
	case !ok:
		return "", errNotText
	case !visible(text, UTF8Fields):
		return "", errControl
	case encoding == UTF8Fields:
		return text, nil
	case !visible(text, Latin1Fields):
		return "", errNotLatin1
	}
	return latin1(text), nil
}

func percent(v any) (string, error) {
	members, ok := scalarsOf(v)
	if !ok {
		return "", errNotList
	}
	return percentList(members), nil
}

func isList(v any) bool {
	_, ok := scalarsOf(v)
	return ok
}

// scalarsOf returns a scalar, or the members of an array of scalars, as text.
func scalarsOf(v any) ([]string, bool) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	members := make([]string, len(list))
	for i, v := range list {
		if members[i], ok = identity.Scalar(v); !ok {
			return nil, false
		}
	}
	return members, true
}

func percentList(members []string) string {
	var b strings.Builder
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		percentEncode(&b, m)
	}
	return b.String()
}
