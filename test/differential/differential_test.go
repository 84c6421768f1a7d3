// Package differential sends requests to the app through the standard-library proxy (stdproxy) and through the sidecar, and compares what the
// client and the app see. Every difference is in the table differences, with its reason; docs/design/0031-http1-engine.md has the same list.
package differential

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// workers is how many worlds work off the cases of one document.
const workers = 4

// TestDifferential runs every case through both proxies.
func TestDifferential(t *testing.T) {
	if raced {
		t.Skip("run it without the race detector: make differential")
	}
	cases := allCases(t)
	used := newUse()
	t.Run("cases", func(t *testing.T) {
		for name, document := range documents() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				compareAll(t, cases, used, func() *world { return newWorld(t, document) })
			})
		}
	})
	if !t.Failed() && os.Getenv("DIFFERENTIAL_CASE") == "" {
		used.check(t)
	}
}

// compareAll works off the cases in several worlds.
func compareAll(t *testing.T, cases []testCase, used *use, open func() *world) {
	next := make(chan *testCase)
	var wait sync.WaitGroup
	for range workers {
		w := open()
		wait.Go(func() {
			for c := range next {
				w.compare(t, c, used)
			}
		})
	}
	for i := range cases {
		next <- &cases[i]
	}
	close(next)
	wait.Wait()
}

// compare runs one case through both proxies, and fails if they differ in what is not listed.
func (w *world) compare(t *testing.T, c *testCase, used *use) {
	old, new := w.try(w.old, c), w.try(w.new, c)
	before := [2]string{old.String(), new.String()}
	used.apply(c, old, new)
	if a, b := old.String(), new.String(); a != b {
		t.Errorf("%s:\n%s%s", c.name, show(c), diff(before[0], before[1]))
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

// diff returns the lines that differ, with their neighbours.
func diff(old, new string) string {
	a, b := strings.Split(old, "\n"), strings.Split(new, "\n")
	var out strings.Builder
	for _, line := range a {
		if !slices.Contains(b, line) {
			fmt.Fprintf(&out, "  standard library: %s\n", line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			fmt.Fprintf(&out, "  sidecar:          %s\n", line)
		}
	}
	if out.Len() == 0 {
		fmt.Fprintf(&out, "standard library:\n%s\nsidecar:\n%s", old, new)
	}
	return out.String()
}
