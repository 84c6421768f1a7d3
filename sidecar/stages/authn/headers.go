package authn

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf16"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/keys/jwt"
)

// maxHeaders is the maximum size of the values of all identity headers of one token, in bytes.
const maxHeaders = 8 << 10

// extended is the prefix of a value in percent-encoded UTF-8 (RFC 8187 §3.2, without a language).
const extended = "UTF-8''"

// header is a request header that a verified token sets.
type header struct{ name, value string }

// headersOf returns the headers that carry claims to the app:
//   - strings, numbers and booleans as they are; arrays of them joined by commas; anything else as compact ASCII JSON;
//   - a text that is not printable ASCII, starts or ends with a space, or itself begins with the UTF-8 prefix of RFC 8187, is
//     percent-encoded after that prefix, so that no claim can end the header early or look like another value. A comma inside
//     an array's element is encoded as well: apps must split at commas first, then decode;
//   - no header for a claim that is absent, null or empty.
func headersOf(p *provider, id *identity.Identity) ([]header, error) {
	var headers []header
	size := 0
	for _, c := range p.ClaimsToHeaders {
		v, _ := id.Claim(c.Claim)
		value, err := text(v)
		if err != nil {
			return nil, jwt.Because(jwt.Malformed, err)
		}
		if value == "" {
			continue
		}
		if size += len(value); size > maxHeaders {
			return nil, jwt.BecauseOf(reasonClaimSize, c.Claim, "makes the headers for the app longer than %d bytes", maxHeaders)
		}
		headers = append(headers, header{name: http.CanonicalHeaderKey(c.Header), value: value})
	}
	return headers, nil
}

func text(v any) (string, error) {
	if v == nil {
		return "", nil
	}
	if s, ok := identity.Scalar(v); ok {
		if plain(s) {
			return s, nil
		}
		return extend([]string{s}), nil
	}
	if list, ok := v.([]any); ok {
		if elements, ok := scalars(list); ok {
			return fieldValue(elements), nil
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encoding claim: %w", err)
	}
	return ascii(string(b)), nil
}

func scalars(list []any) ([]string, bool) {
	elements := make([]string, len(list))
	for i, v := range list {
		var ok bool
		if elements[i], ok = identity.Scalar(v); !ok {
			return nil, false
		}
	}
	return elements, true
}

// fieldValue joins elements by commas. It encodes all of them if one needs it.
func fieldValue(elements []string) string {
	for _, e := range elements {
		if !plain(e) || strings.Contains(e, ",") {
			return extend(elements)
		}
	}
	return strings.Join(elements, ",")
}

func extend(elements []string) string {
	var b strings.Builder
	b.WriteString(extended)
	for i, e := range elements {
		if i > 0 {
			b.WriteByte(',')
		}
		percentEncode(&b, e)
	}
	return b.String()
}

// plain reports whether s can be a header's value as it is, and does not look like an encoded one.
func plain(s string) bool {
	if s != strings.Trim(s, " ") || len(s) >= len(extended) && strings.EqualFold(s[:len(extended)], extended) {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// percentEncode encodes every byte except letters, digits and the attr-chars -._~ of RFC 8187 §3.2.1.
func percentEncode(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
}

// ascii returns a JSON text with characters beyond ASCII, and DEL, as \u escapes.
func ascii(jsonText string) string {
	var b strings.Builder
	for _, r := range jsonText {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
