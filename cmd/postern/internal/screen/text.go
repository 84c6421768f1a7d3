// Package screen prints text and tables on terminals. Text from a cluster is untrusted: Escape makes it safe to print.
package screen

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"
)

// Escape writes what a terminal would not print as Go escapes it, such as \x1b, and leaves the rest. Line breaks are escaped too. Bytes that
// are not UTF-8 are replaced, because some terminals execute 0x9b.
func Escape(s string) string {
	s = strings.ToValidUTF8(s, string(unicode.ReplacementChar))
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unprintable(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// unprintable also holds for characters that change the direction of the text (category Cf).
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// Width returns the number of a terminal's cells that s takes: 2 for most characters of Chinese, Japanese and Korean, 0 for combining
// marks, and otherwise 1.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += cells(r)
	}
	return n
}

func cells(r rune) int {
	if r < unicode.MaxASCII {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

const ellipsis = "…"

// Cut shortens s to at most limit cells. The cut is marked by an ellipsis at the end. A limit below 1 leaves s as it is.
func Cut(s string, limit int) string {
	if limit < 1 || Width(s) <= limit {
		return s
	}
	return head(s, limit-1) + ellipsis
}

// CutMiddle shortens s to at most limit cells and keeps its start and its end, by which names of pods differ.
func CutMiddle(s string, limit int) string {
	if limit < 1 || Width(s) <= limit {
		return s
	}
	end := (limit - 1) / 2
	return head(s, limit-1-end) + ellipsis + tail(s, end)
}

// head returns the start of s that takes at most limit cells.
func head(s string, limit int) string {
	for i, r := range s {
		if limit -= cells(r); limit < 0 {
			return s[:i]
		}
	}
	return s
}

// tail returns the end of s that takes at most limit cells. It does not start with a combining mark.
func tail(s string, limit int) string {
	runes := []rune(s)
	i := len(runes)
	for i > 0 && limit >= cells(runes[i-1]) {
		limit -= cells(runes[i-1])
		i--
	}
	for i < len(runes) && cells(runes[i]) == 0 {
		i++
	}
	return string(runes[i:])
}

// Wrap breaks s at spaces into lines of at most limit cells. A longer word is a line of its own. A limit below 1 gives one line.
func Wrap(s string, limit int) []string {
	if limit < 1 {
		return []string{s}
	}
	var lines []string
	line, n := "", 0
	for _, word := range strings.Fields(s) {
		w := Width(word)
		if n > 0 && n+1+w > limit {
			lines, line, n = append(lines, line), "", 0
		}
		if n > 0 {
			line, n = line+" ", n+1
		}
		line, n = line+word, n+w
	}
	return append(lines, line)
}

// Age returns a duration as kubectl prints it: 42s, 5m, 3h, 4d.
func Age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 3*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
