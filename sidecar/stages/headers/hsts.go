package headers

import (
	"strconv"
	"strings"
)

// presetAge is the presets' max-age: a year, in seconds.
const presetAge = 31536000

// maxAge bounds the app's max-age to what fits a 32-bit number: more is no stricter to any browser.
const maxAge = 1<<31 - 1

// mergeHSTS returns the strictest of the preset's and the app's value, directive by directive: the longer age, always
// includeSubDomains, and preload where the app has it. Of several lines browsers read the first (RFC 6797 §8.1); one that
// they would not understand counts as none.
func mergeHSTS(app []string) string {
	age, preload := -1, false
	for directive := range strings.SplitSeq(app[0], ";") {
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
		return maxAge, true // digits alone: it is only too large
	}
	return min(n, maxAge), true
}
