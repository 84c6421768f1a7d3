// Package revocationtest is the conformance suite for revocation stores.
package revocationtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/revocation"
)

// Store is a store under test.
type Store interface {
	revocation.Store
	revocation.Feed
}

// Run tests a store. open returns a new, empty store.
func Run(t *testing.T, open func(t *testing.T) Store) {
	tests := map[string]func(*testing.T, Store){
		"added entries are found":                  found,
		"adding again changes nothing":             idempotent,
		"two times of a subject are merged":        merged,
		"expired entries are removed":              expired,
		"invalid entries are refused":              invalid,
		"everything is loaded":                     loaded,
		"every change is followed":                 followed,
		"a foreign cursor is a gap":                foreignCursor,
		"concurrent entries are all known":         manyAtOnce,
		"entries with joined strings are distinct": strange,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

const issuer = "https://issuer.example"

func later() time.Time { return time.Now().Add(time.Hour).Truncate(time.Microsecond) }

func token(jti string) revocation.Entry {
	return revocation.Entry{Kind: revocation.Token, Issuer: issuer, Value: jti, Expires: later()}
}

func subject(before, expires time.Time) revocation.Entry {
	return revocation.Entry{Kind: revocation.Subject, Issuer: issuer, Value: "ada", Before: before, Expires: expires}
}

func add(t *testing.T, s Store, entries ...revocation.Entry) revocation.Position {
	t.Helper()
	p, err := s.Add(t.Context(), entries...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func same(a, b revocation.Entry) bool {
	return a.ID() == b.ID() && a.Before.Equal(b.Before) && a.Expires.Equal(b.Expires)
}

func wantFound(t *testing.T, s Store, asked []revocation.Entry, want ...revocation.Entry) {
	t.Helper()
	got, err := s.Find(t.Context(), asked)
	if err != nil || !slices.EqualFunc(got, want, same) {
		t.Errorf("found %+v, %v; want %+v", got, err, want)
	}
}

func found(t *testing.T, s Store) {
	one, two := token("1"), revocation.Entry{Kind: revocation.Key, Issuer: issuer, Value: "k", Expires: later()}
	add(t, s, one, two)
	wantFound(t, s, []revocation.Entry{token("0"), one, two}, one, two)
	wantFound(t, s, nil)
	other := one
	other.Issuer = "https://other.example"
	wantFound(t, s, []revocation.Entry{other})
	other = one
	other.Kind = revocation.Session
	wantFound(t, s, []revocation.Entry{other})
	if n, err := s.Count(t.Context()); n != 2 || err != nil {
		t.Errorf("Count = %d, %v", n, err)
	}
}

func idempotent(t *testing.T, s Store) {
	e := token("1")
	first := add(t, s, e)
	if again := add(t, s, e); again != first || !again.Covers(first) {
		t.Errorf("adding again moved %v to %v", first, again)
	}
	e.Expires = e.Expires.Add(-time.Minute)
	if again := add(t, s, e); again != first {
		t.Errorf("adding with an earlier expiry moved %v to %v", first, again)
	}
	if next := add(t, s, token("2")); next == first || !next.Covers(first) || first.Covers(next) {
		t.Errorf("another entry moved %v to %v", first, next)
	}
}

func merged(t *testing.T, s Store) {
	early, late := later().Add(-2*time.Hour), later().Add(-90*time.Minute)
	add(t, s, subject(late, later().Add(time.Minute)))
	long := later().Add(time.Hour)
	add(t, s, subject(early, long))
	wantFound(t, s, []revocation.Entry{subject(early, long)}, subject(late, long))
}

func expired(t *testing.T, s Store) {
	e := token("1")
	e.Expires = time.Now().Add(-time.Second)
	add(t, s, e)
	wantFound(t, s, []revocation.Entry{e})
	brief := token("2")
	brief.Expires = time.Now().Add(50 * time.Millisecond)
	add(t, s, brief)
	time.Sleep(time.Until(brief.Expires))
	deadline := time.Now().Add(30 * time.Second)
	for n := 1; n > 0; n, _ = s.Count(t.Context()) {
		if time.Now().After(deadline) {
			t.Fatal("expired entries are still counted")
		}
		add(t, s, e)
		_, _ = s.Find(t.Context(), []revocation.Entry{brief})
		time.Sleep(10 * time.Millisecond)
	}
}

func invalid(t *testing.T, s Store) {
	tests := map[string]func(*revocation.Entry){
		"no kind":               func(e *revocation.Entry) { e.Kind = "" },
		"no issuer":             func(e *revocation.Entry) { e.Issuer = "" },
		"no value":              func(e *revocation.Entry) { e.Value = "" },
		"a long value":          func(e *revocation.Entry) { e.Value = strings.Repeat("x", 513) },
		"not UTF-8":             func(e *revocation.Entry) { e.Value = "\xff" },
		"a token with a time":   func(e *revocation.Entry) { e.Before = time.Now() },
		"a subject without one": func(e *revocation.Entry) { e.Kind = revocation.Subject },
		"a subject before 1970": func(e *revocation.Entry) {
			e.Kind, e.Before = revocation.Subject, time.Date(2, 1, 1, 0, 0, 0, 0, time.UTC)
		},
		"a subject too far in the future": func(e *revocation.Entry) {
			e.Kind, e.Before = revocation.Subject, time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)
		},
		"forever":  func(e *revocation.Entry) { e.Expires = time.Time{} },
		"too long": func(e *revocation.Entry) { e.Expires = time.Now().AddDate(100, 0, 0) },
	}
	for name, change := range tests {
		e := token("1")
		change(&e)
		if _, err := s.Add(t.Context(), token("0"), e); !errors.Is(err, revocation.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantFound(t, s, []revocation.Entry{token("0")})
	if _, entries := load(t, s); len(entries) != 0 { // a refused entry must not prevent reading the others
		t.Errorf("loaded %+v", entries)
	}
}

func load(t *testing.T, s Store) (cursor revocation.Cursor, entries []revocation.Entry) {
	t.Helper()
	cursor, err := s.Load(t.Context(), func(more []revocation.Entry) { entries = append(entries, more...) })
	if err != nil {
		t.Fatal(err)
	}
	return cursor, entries
}

func loaded(t *testing.T, s Store) {
	if _, entries := load(t, s); len(entries) != 0 {
		t.Errorf("an empty store holds %v", entries)
	}
	var all []revocation.Entry
	for i := range 1500 {
		all = append(all, token(string(rune('a'+i%26))+strings.Repeat("x", i/26)))
	}
	p := add(t, s, all...)
	cursor, entries := load(t, s)
	ids := map[string]bool{}
	for _, e := range entries {
		ids[e.ID()] = true
	}
	if len(ids) != len(all) || cursor.Position != p {
		t.Errorf("loaded %d of %d at %v; want %v", len(ids), len(all), cursor.Position, p)
	}
}

// sink collects the changes of a feed.
type sink struct {
	mu      sync.Mutex
	cursor  revocation.Cursor
	entries []revocation.Entry
	fresh   int
	changed chan struct{}
}

func newSink() *sink { return &sink{changed: make(chan struct{}, 1)} }

func (s *sink) Apply(c revocation.Cursor, entries []revocation.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursor, s.entries = c, append(s.entries, entries...)
	s.tell()
}

func (s *sink) Fresh(context.Context, time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh++
	s.tell()
	return nil
}

func (s *sink) Doubt(error) error { return nil }

func (s *sink) tell() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// wait waits until ok returns true for the collected changes.
func (s *sink) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		done := ok()
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-s.changed:
		case <-limit:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func follow(t *testing.T, s Store, from revocation.Cursor) *sink {
	ctx, stop := context.WithCancel(t.Context())
	to, done := newSink(), make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Follow(ctx, from, time.Second, to); err != nil && ctx.Err() == nil {
			t.Errorf("following: %v", err)
		}
	}()
	t.Cleanup(func() { stop(); <-done })
	return to
}

func followed(t *testing.T, s Store) {
	cursor, _ := load(t, s)
	to := follow(t, s, cursor)
	to.wait(t, "an idle store to be fresh", func() bool { return to.fresh > 1 })
	first := add(t, s, token("1"))
	to.wait(t, "the first change", func() bool { return to.cursor.Position == first })
	last := add(t, s, token("2"), token("3"))
	to.wait(t, "the last change", func() bool { return to.cursor.Position == last })
	var values []string
	for _, e := range to.entries {
		values = append(values, e.Value)
	}
	if !slices.Equal(values, []string{"1", "2", "3"}) {
		t.Errorf("followed %v", values)
	}
	again := follow(t, s, to.cursor)
	next := add(t, s, token("4"))
	again.wait(t, "the changes after the cursor", func() bool { return again.cursor.Position == next && len(again.entries) == 1 })
}

func foreignCursor(t *testing.T, s Store) {
	add(t, s, token("1"))
	cursor, _ := load(t, s)
	cursor.Generation, cursor.Tip = "another", "another"
	if err := s.Follow(t.Context(), cursor, time.Second, newSink()); !errors.Is(err, revocation.ErrGap) {
		t.Errorf("following: %v; want a gap", err)
	}
}

func manyAtOnce(t *testing.T, s Store) {
	cursor, _ := load(t, s)
	to := follow(t, s, cursor)
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			for j := range 10 {
				add(t, s, token(strings.Repeat("x", i+1)+strings.Repeat("y", j)))
			}
		})
	}
	wg.Wait()
	to.wait(t, "all changes", func() bool { return len(to.entries) >= 300 })
	if len(to.entries) != 300 {
		t.Errorf("followed %d changes", len(to.entries))
	}
}

func strange(t *testing.T, s Store) {
	a, b := token("b"), token("ab")
	a.Issuer, b.Issuer = "xa", "x"
	quoted := token("\"\\\x00<é")
	add(t, s, a, quoted)
	wantFound(t, s, []revocation.Entry{a, b, quoted}, a, quoted)
	if _, entries := load(t, s); len(entries) != 2 {
		t.Errorf("loaded %+v", entries)
	}
}
