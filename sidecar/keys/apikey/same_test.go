package apikey

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// documented is the pattern of docs/api-keys.md.
var documented = regexp.MustCompile(`pstn_[0-9A-Za-z]{36}`)

// TestTheSameKeyWithAnotherName: a key whose id or subject changes is another one: its responses in progress end, and its uses are counted
// apart if the id changes.
func TestTheSameKeyWithAnotherName(t *testing.T) {
	parse := func(id, subject string) *File {
		f, err := Parse(fmt.Appendf(nil, "- {id: %s, subject: %s, hash: 'sha256:%s'}", id, subject, strings.Repeat("ab", 32)))
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	was := parse("ci", "svc")
	was.entries[0].Used(time.Unix(1, 0))
	for _, tt := range []struct {
		id, subject string
		same        bool
		uses        int64
	}{{"ci", "svc", true, 1}, {"ci2", "svc", false, 0}, {"ci", "svc2", false, 1}} {
		f := parse(tt.id, tt.subject)
		f.inherit(was)
		if got := f.Get(was.entries[0]) != nil; got != tt.same {
			t.Errorf("%s, %s: the same: %t", tt.id, tt.subject, got)
		}
		if got := f.entries[0].use.count.Load(); got != tt.uses {
			t.Errorf("%s, %s: %d uses; want %d", tt.id, tt.subject, got, tt.uses)
		}
	}
}

// TestScannersFindKeys: the pattern of the docs finds a key in text, and the checksum tells it from text of the same form.
func TestScannersFindKeys(t *testing.T) {
	key, err := New()
	if err != nil {
		t.Fatal(err)
	}
	found := documented.FindAllString("export KEY="+key+"; curl", -1)
	if len(found) != 1 || found[0] != key || Check(found[0]) != nil {
		t.Errorf("found %q of %s", found, key)
	}
	if other := Prefix + strings.Repeat("a", randomChars+sumChars); !documented.MatchString(other) || Check(other) == nil {
		t.Error("text of the form of a key is a key")
	}
}
