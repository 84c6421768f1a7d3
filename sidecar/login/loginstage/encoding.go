package loginstage

import (
	"errors"
	"fmt"
	"net/url"
	"unicode/utf8"
)

// FieldEncoding is how the app writes text in its response's fields. It is part of the policy and never guessed: the bytes C3 A9 are é in
// UTF-8 and Ã© in ISO 8859-1, so a user could choose a name that is read as another user's.
type FieldEncoding string

// The encodings. Empty is UTF8.
const (
	UTF8    FieldEncoding = "UTF8"
	Latin1  FieldEncoding = "Latin1"
	Percent FieldEncoding = "Percent"
)

// Errors of decode. They contain nothing of the value.
var (
	errUTF8    = errors.New("it is not UTF-8; if the app writes ISO 8859-1, as WSGI does, set tokens.fieldEncoding to Latin1, or to Percent and encode it")
	errLatin1  = errors.New("it may be UTF-8, which Node writes if the response's body is a string; set tokens.fieldEncoding to Percent and encode it")
	errPercent = errors.New("it is not percent-encoded UTF-8, which tokens.fieldEncoding requires")
)

// decode returns the text of a field in UTF-8.
func (e FieldEncoding) decode(name, value string) (string, error) {
	text, err := value, error(nil)
	switch e {
	case Latin1:
		// Node writes a header in the encoding of its body's first part: in UTF-8 if that is a string, in ISO 8859-1 if it is a Buffer or
		// there is none. So these bytes may be either, and are rare in honest ISO 8859-1.
		if utf8.ValidString(value) && !isASCII(value) {
			return "", fmt.Errorf("reading %s: %w", name, errLatin1)
		}
		return fromLatin1(value), nil
	case Percent:
		if text, err = url.PathUnescape(value); err != nil || !isASCII(value) {
			return "", fmt.Errorf("reading %s: %w", name, errPercent)
		}
	}
	if !utf8.ValidString(text) {
		return "", fmt.Errorf("reading %s: %w", name, errUTF8)
	}
	return text, nil
}

func fromLatin1(s string) string {
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
