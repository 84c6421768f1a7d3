package loginprotection

import (
	"html"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// reveals reports whether a response has a secret of its request, as it is or escaped. It is true for a request with very many of them.
func (s *sample) reveals(secrets []string) bool {
	if len(secrets) > maxSecrets {
		return true
	}
	texts := []string{string(s.Body)}
	for _, values := range s.Header {
		texts = append(texts, values...)
	}
	for i, text := range texts {
		whole, ok := unescaped(text, 2*maxRounds)
		if !ok {
			return true
		}
		texts[i] = whole
		texts = append(texts, letters(whole))
	}
	return slices.ContainsFunc(secrets, func(secret string) bool {
		whole, ok := unescaped(strings.TrimSpace(secret), maxRounds)
		few := letters(whole)
		return !ok || slices.ContainsFunc(texts, func(text string) bool {
			return len(whole) >= shortest && strings.Contains(text, whole) || len(few) >= shortestLetters && strings.Contains(text, few)
		})
	})
}

// unescaped undoes the escapes of HTML, JSON, JavaScript and URLs, which differ between frameworks, capitals, and what NFKC changes, until none is left. It reports
// false if some are left after so many rounds: a client can escape a text more often than any app.
func unescaped(text string, rounds int) (plain string, ok bool) {
	for range rounds {
		if plain = once(strings.ToLower(norm.NFKC.String(text))); plain == text {
			return spaces.Replace(plain), true // a backslash is left of what is escaped twice
		}
		text = plain
	}
	return text, false
}

// once undoes one level of each kind of escapes.
func once(text string) string {
	text = escapes().ReplaceAllStringFunc(html.UnescapeString(text), func(escape string) string {
		n, err := strconv.ParseUint(strings.Trim(escape[2:], "{}"), 16, 32)
		if err != nil {
			return escape
		}
		return string(rune(n))
	})
	return percents().ReplaceAllStringFunc(text, func(octets string) string {
		plain, err := url.PathUnescape(octets)
		if err != nil {
			return octets
		}
		return plain
	})
}

var (
	escapes = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`\\(?:u[0-9A-Fa-f]{4}|u\{[0-9A-Fa-f]{1,6}\}|x[0-9A-Fa-f]{2})`)
	})
	spaces   = strings.NewReplacer(`\b`, " ", `\f`, " ", `\n`, " ", `\r`, " ", `\t`, " ", "\b", " ", "\f", " ", "\n", " ", "\r", " ", "\t", " ", "+", " ", `\`, "")
	percents = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?:%[0-9A-Fa-f]{2})+`) })
)

// letters returns the letters and digits of a text, which no way to escape changes.
func letters(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, text)
}
