package vault

import (
	"strings"
	"unicode"
)

// maxDetail bounds the part of a server's message in an error, in bytes.
const maxDetail = 200

const redacted = "[redacted]"

// scrub makes a text safe to log. It removes the known credentials, words that look like tokens, and user names and passwords in
// addresses. The result is printable, on one line, and short.
func scrub(text string, known []string) string {
	for _, k := range known {
		if k != "" {
			text = strings.ReplaceAll(text, k, redacted)
		}
	}
	text = withoutUserinfo(withoutTokens(text))
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text))
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail], "") + " …"
	}
	return text
}

// withoutTokens replaces words that look like tokens or JWTs.
func withoutTokens(text string) string {
	var out strings.Builder
	for text != "" {
		n := strings.IndexFunc(text, func(r rune) bool { return !wordly(r) })
		if n < 0 {
			n = len(text)
		}
		if tokenlike(text[:n]) {
			out.WriteString(redacted)
		} else {
			out.WriteString(text[:n])
		}
		text = text[n:]
		n = strings.IndexFunc(text, wordly)
		if n < 0 {
			n = len(text)
		}
		out.WriteString(text[:n])
		text = text[n:]
	}
	return out.String()
}

func wordly(r rune) bool {
	return r < unicode.MaxASCII && (r == '.' || r == '_' || r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r))
}

// tokenlike recognises Vault tokens (hvs. service, hvb. batch, hvr. recovery; s. and b. before 1.10) and JWTs.
func tokenlike(word string) bool {
	for prefix, length := range map[string]int{"hvs.": 12, "hvb.": 12, "hvr.": 12, "s.": 22, "b.": 22, "eyJ": 12} {
		if len(word) >= length && strings.HasPrefix(word, prefix) {
			return true
		}
	}
	return false
}

func withoutUserinfo(text string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "//")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		out.WriteString("//")
		n := strings.IndexAny(rest, "/ \t\n\"'")
		if n < 0 {
			n = len(rest)
		}
		if at := strings.LastIndexByte(rest[:n], '@'); at >= 0 {
			out.WriteString(redacted)
			rest = rest[at:]
		}
		text = rest
	}
}
