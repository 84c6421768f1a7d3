package main

import (
	"os"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/route"
)

// TestNoAppServesWhatTheRuleDoesNotMatch: for every spelling of a protected path and each combination of the path options, the request is
// refused, or the rule matches it, or no recorded app serves the protected resource for what is forwarded.
func TestNoAppServesWhatTheRuleDoesNotMatch(t *testing.T) {
	b, err := os.ReadFile("testdata/served.txt")
	if err != nil {
		t.Fatal(err)
	}
	record, err := parse(string(b))
	if err != nil {
		t.Fatal(err)
	}
	sent, err := forwarded()
	if err != nil {
		t.Fatal(err)
	}
	if got := digest(sent); got != record.digest {
		t.Fatalf("the record is of other targets (%s, not %s): run go run ./hack/pathcorpus", record.digest, got)
	}
	protects, err := route.NewMatcher([]route.Match{{Paths: []string{"/admin/**"}}})
	if err != nil {
		t.Fatal(err)
	}
	refused, matched, passed := 0, 0, 0
	for o := range options() {
		reader, err := route.NewReader(o, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range targets() {
			path, ok := pathOf(target)
			if !ok {
				continue
			}
			got, err := reader.Read(path)
			switch {
			case err != nil:
				refused++
				continue
			case protects.MatchAny("GET", &got.Target):
				matched++
				continue
			}
			passed++
			for _, app := range record.apps {
				if app.serves[got.Forward] && (o.IgnoreCase || !app.ignoresCase) {
					t.Errorf("%s serves the protected resource for %q, sent as %q, which the rule does not match with %+v", app.name, got.Forward, target, o)
				}
			}
		}
	}
	t.Logf("%d targets, %d apps: %d refused, %d matched, %d passed that no app serves", len(targets()), len(record.apps), refused, matched, passed)
	if refused == 0 || matched == 0 || passed == 0 {
		t.Error("nothing was compared")
	}
}

// TestRecordSaysWhatAppsDo: the record is of real apps: each serves the plain path, and some serve other spellings.
func TestRecordSaysWhatAppsDo(t *testing.T) {
	b, err := os.ReadFile("testdata/served.txt")
	if err != nil {
		t.Fatal(err)
	}
	record, err := parse(string(b))
	if err != nil {
		t.Fatal(err)
	}
	if len(record.apps) < 12 {
		t.Errorf("only %d apps", len(record.apps))
	}
	for _, app := range record.apps {
		if !app.serves[protected] || app.serves["/admin/other"] {
			t.Errorf("%s does not serve %s, or everything", app.name, protected)
		}
		if app.ignoresCase != app.serves[strings.ToUpper(protected[:2])+protected[2:]] && app.ignoresCase != app.serves["/ADMIN/secret"] {
			t.Errorf("%s: whether it ignores case is not what it serves", app.name)
		}
	}
}
