package console

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/posterndev/postern/cmd/postern/internal/screen"
)

// maxText bounds a text that is shown, in characters.
const maxText = 600

// segment is a part of a text. A marked segment replaces characters that a browser would not show, or that would change how it shows others.
type segment struct {
	Text   string
	Marked bool
}

// segments returns a text in which control characters, and those that change the direction of text, are visible as Go escapes them. The
// marked segments differ from the same characters in the text itself, because they look different.
func segments(s string) []segment {
	s = shortened(s)
	var out []segment
	for _, r := range strings.ToValidUTF8(s, string(unicode.ReplacementChar)) {
		text, marked := string(r), !unicode.IsPrint(r)
		if marked {
			text = screen.Escape(text)
		}
		if last := len(out) - 1; last >= 0 && out[last].Marked == marked {
			out[last].Text += text
			continue
		}
		out = append(out, segment{text, marked})
	}
	return out
}

// shortened returns at most maxText characters.
func shortened(s string) string {
	n := 0
	for i := range s {
		if n++; n > maxText {
			return s[:i] + "…"
		}
	}
	return s
}

// moment is a time as pages show it. All are in UTC, and Short does not say so.
type moment struct{ Machine, Exact, Short, Age string }

func momentOf(t, now time.Time) moment {
	t = t.UTC()
	return moment{t.Format(time.RFC3339), t.Format("2006-01-02 15:04:05 UTC"), t.Format(time.DateTime), screen.Age(now.Sub(t))}
}

// rate returns a number per second; a dash if it is not known.
func rate(f float64) string {
	switch {
	case f < 0:
		return "–"
	case f == 0:
		return "0"
	case f < 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}

// whole returns a number of things.
func whole(f float64) string { return strconv.FormatFloat(f, 'f', 0, 64) }

// plural returns a number with its noun.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

var functions = template.FuncMap{"segments": segments, "rate": rate, "whole": whole, "plural": plural}
