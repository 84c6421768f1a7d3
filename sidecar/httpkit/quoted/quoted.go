// Package quoted removes what errors of libraries quote: net/http quotes a line of a response that it cannot read, which may have a cookie or a token.
package quoted

import "strings"

// Hide replaces what is quoted in text by an ellipsis. A quotation is as %q of fmt writes it; one without an end goes to the end of text.
func Hide(text string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, `"`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString(`"…"`)
		if text = rest[end(rest):]; text == "" {
			return b.String()
		}
	}
}

// end returns where the quotation at the start of text has ended.
func end(text string) int {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

// hidden is an error without what it quotes.
type hidden struct{ error }

// Error returns the text without quotations.
func (e hidden) Error() string { return Hide(e.error.Error()) }

// Unwrap returns the error itself.
func (e hidden) Unwrap() error { return e.error }

// Error returns err with a text without quotations; nil for nil.
func Error(err error) error {
	if err == nil || !strings.Contains(err.Error(), `"`) {
		return err
	}
	return hidden{err}
}
