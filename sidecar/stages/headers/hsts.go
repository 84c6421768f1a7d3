package headers

import (
	"net/http"
	"strconv"
	"strings"
)

// presetAge is the max-age of the presets: one year, in seconds.
const presetAge = 31536000

// maxAge limits the app's max-age to a 32-bit number. A larger one is not stricter in any browser.
const maxAge = 1<<31 - 1

// mergeHSTS returns the stricter of the preset's and the app's value, directive by directive: the longer age, always
// includeSubDomains, and preload if the app has it. Browsers read only the first of several header lines (RFC 6797 §8.1). It
// returns "" if they would not understand that line.
func mergeHSTS(app http.Header) string {
	age, preload := -1, false
	for directive := range strings.SplitSeq(app[hsts][0], ";") {
		name, value, _ := strings.Cut(directive, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "max-age":
			n, ok := parseAge(strings.TrimSpace(value))
			if !ok || age >= 0 {
				return ""
			}
			age = n
		case "preload":
			preload = true
		}
	}
	if age < 0 {
		return ""
	}
	value := "max-age=" + strconv.Itoa(max(age, presetAge)) + "; includeSubDomains"
	if preload {
		value += "; preload"
	}
	return value
}

// parseAge reads digits, which may be quoted.
func parseAge(s string) (seconds int, ok bool) {
	if len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	if s == "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return maxAge, true // only digits, so the number is too large
	}
	return min(n, maxAge), true
}
