// Package differential sends requests to the app itself, to it through the standard-library proxy (stdproxy), and through the sidecar's request
// path, and compares what the client and the app see. The table differences has what the two proxies do differently, and the table changes what
// the sidecar changes, each with its reason; docs/design/0031-http1-engine.md has the same lists. Everything runs in bubbles of testing/synctest.
package differential

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// workers is how many worlds work off the cases.
const workers = 4

// TestDifferential runs every case at the app itself and through both proxies.
func TestDifferential(t *testing.T) {
	all := allCases(t)
	cases := make([]testCase, 0, len(all))
	for at := 0; at < len(all); at += step { // the cases of a group follow one another
		cases = append(cases, all[at])
	}
	old, direct := newUse(differences), newUse(changes)
	t.Run("cases", func(t *testing.T) {
		for i := range workers {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					for at := i; at < len(cases); at += workers {
						w.compare(t, &cases[at], old, direct)
					}
				})
			})
		}
	})
	t.Logf("%d of %d cases", len(cases), len(all))
	if !t.Failed() && step == 1 && os.Getenv("DIFFERENTIAL_CASE") == "" {
		old.check(t)
		direct.check(t)
	}
}

// compare runs one case at the app itself and through both proxies, and fails if the sidecar differs from one of the others in what is not
// listed.
func (w *world) compare(t *testing.T, c *testCase, listed, changed *use) {
	for name, path := range w.paths {
		c.document = name
		old, new := w.try(path.old, c), w.try(path.new, c)
		asRead := new.asRead()
		listed.compare(t, c, "standard library", old, new)
		if name == noSections { // what a section changes, it is there for
			changed.compare(t, c, "app", w.tryDirect(c, asRead), asRead)
		}
	}
}

// compare fails if two outcomes differ in what is not listed; from is where before is from, and after is that of the sidecar.
func (u *use) compare(t *testing.T, c *testCase, from string, before, after *outcome) {
	if before.equal(after) {
		return
	}
	texts := [2]string{before.String(), after.String()}
	u.apply(c, before, after)
	if !before.equal(after) {
		t.Errorf("%s, %s:\n%s%s\nnot listed:\n%s", c.name, c.document, show(c), diff(from, texts[0], texts[1]), diff(from, before.String(), after.String()))
	}
}

// show returns the case as text.
func show(c *testCase) string {
	text := fmt.Sprintf("sent %q", shorten([]byte(c.bytes)))
	if c.sequential {
		text += ", one request after the other"
	}
	if len(c.splits) > 0 {
		text += fmt.Sprintf(", split at %d", c.splits)
	}
	for _, r := range c.replies {
		text += fmt.Sprintf("\nthe app: interim %q, then %q, early %v, unread %v, ending %d", r.interim, shorten([]byte(r.raw)), r.early, r.unread, r.then)
	}
	return text + "\n"
}

// diff returns the lines that differ. from is where before is from, and after is that of the sidecar.
func diff(from, before, after string) string {
	a, b := strings.Split(before, "\n"), strings.Split(after, "\n")
	var out strings.Builder
	for _, line := range a {
		if !slices.Contains(b, line) {
			fmt.Fprintf(&out, "  %s: %s\n", from, line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			fmt.Fprintf(&out, "  sidecar: %s\n", line)
		}
	}
	if out.Len() == 0 {
		fmt.Fprintf(&out, "%s:\n%s\nsidecar:\n%s", from, before, after)
	}
	return out.String()
}
