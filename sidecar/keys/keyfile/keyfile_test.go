package keyfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// entries is a file of words. The word bad makes it unreadable.
type entries struct{ words []string }

func (e *entries) Len() int { return len(e.words) }

// fakeSource has a value or an error, which the test sets.
type fakeSource struct {
	mu      sync.Mutex
	text    string
	err     error
	reads   int
	changed chan struct{}
	// block makes reads wait until their context ends.
	block bool
}

func (s *fakeSource) Read(ctx context.Context) (secret.Value, error) {
	s.mu.Lock()
	text, err, block := s.text, s.err, s.block
	s.reads++
	s.mu.Unlock()
	if block {
		<-ctx.Done()
		return secret.Value{}, ctx.Err()
	}
	return secret.New([]byte(text)), err
}

func (s *fakeSource) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *fakeSource) set(text string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text, s.err = text, err
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *fakeSource) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

func newSource(text string) *fakeSource { return &fakeSource{text: text, changed: make(chan struct{})} }

// opened is a store that reads its source when told to, its log, and the number of files that were parsed.
type opened struct {
	*Store[*entries]
	source *fakeSource
	log    *bytes.Buffer
	parsed int
	last   []*entries
}

// paused opens a store whose background reads are over.
func paused(t *testing.T, source *fakeSource, revocable bool) *opened {
	t.Helper()
	o := &opened{source: source, log: &bytes.Buffer{}}
	o.Store = Open(Source{
		Name: "shop/keys", Source: source, Revocable: revocable, Interval: time.Hour, Logger: slog.New(slog.NewTextHandler(o.log, nil)),
	}, Format[*entries]{Entries: "words", Parse: func(data []byte, last *entries) (*entries, error) {
		o.parsed++
		o.last = append(o.last, last)
		if bytes.Contains(data, []byte("bad")) {
			return nil, errors.New("line 1 is no word")
		}
		return &entries{strings.Fields(string(data))}, nil
	}})
	o.Close()
	return o
}

func (o *opened) next(t *testing.T, text string, err error) {
	t.Helper()
	o.source.set(text, err)
	o.read(t.Context())
}

func (o *opened) words() string {
	f, err := o.File()
	if err != nil {
		return "none"
	}
	return strings.Join(f.words, " ")
}

// TestFollows: what is in use after each change of the source. A mounted file keeps its last good content. That of Vault is not used any more
// when it cannot be read, because it may have been deleted.
func TestFollows(t *testing.T) {
	deleted := fmt.Errorf("reading secret: %w", errors.New("no such file"))
	tests := map[string]struct {
		text          string
		err           error
		want, wantErr string
		// wantVault is what is in use if the source is revocable.
		wantVault string
	}{
		"another file":  {"one two three", nil, "one two three", "", "one two three"},
		"unreadable":    {"bad", nil, "one two", "line 1 is no word", "one two"},
		"deleted":       {"", deleted, "one two", "no such file", "none"},
		"empty":         {"", nil, "", "", ""},
		"empty, a file": {"", fmt.Errorf("reading secret: %w", secret.ErrEmpty), "", "", ""},
		"unchanged":     {"one two", nil, "one two", "", "one two"},
	}
	for name, tt := range tests {
		for _, revocable := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, revocable: %v", name, revocable), func(t *testing.T) {
				o := paused(t, newSource(""), revocable)
				o.next(t, "one two", nil)
				o.next(t, tt.text, tt.err)
				want := tt.want
				if revocable {
					want = tt.wantVault
				}
				if got := o.words(); got != want {
					t.Errorf("in use: %q; want %q", got, want)
				}
				if err := o.Err(); (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error %v; want %q", err, tt.wantErr)
				}
				o.next(t, "four", nil)
				if got := o.words(); got != "four" || o.Err() != nil {
					t.Errorf("afterwards in use: %q, %v", got, o.Err())
				}
			})
		}
	}
}

// TestNoFileYet: until a file was read the error says why there is none.
func TestNoFileYet(t *testing.T) {
	o := paused(t, &fakeSource{err: errors.New("no such file"), changed: make(chan struct{})}, false)
	if _, err := o.File(); err == nil || !strings.Contains(err.Error(), "reading file of words shop/keys: no such file") {
		t.Errorf("%v", err)
	}
	o.next(t, "bad", nil)
	if _, err := o.File(); err == nil || !strings.Contains(err.Error(), "line 1 is no word") {
		t.Errorf("%v", err)
	}
	slow := newSource("one")
	slow.block = true
	vault := Open(Source{Name: "v", Source: slow, Revocable: true, Logger: slog.New(slog.DiscardHandler)}, o.format)
	defer vault.Close()
	if _, err := vault.File(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("before the first read: %v", err)
	}
}

// TestParsesOnce: a value that is the same is not parsed again, good or bad, unless the source failed in between. The file in use is passed on.
func TestParsesOnce(t *testing.T) {
	o := paused(t, newSource("one"), false)
	if o.parsed != 1 || o.last[0] != nil {
		t.Fatalf("parsed %d times at the start, after %v", o.parsed, o.last)
	}
	good, _ := o.File()
	for _, tt := range []struct {
		text string
		err  error
		want int
	}{{"one", nil, 1}, {"bad", nil, 2}, {"bad", nil, 2}, {"", errors.New("away"), 2}, {"bad", nil, 3}, {"one", nil, 4}} {
		if o.next(t, tt.text, tt.err); o.parsed != tt.want {
			t.Errorf("after %q, %v: parsed %d times; want %d", tt.text, tt.err, o.parsed, tt.want)
		}
	}
	if want := []*entries{nil, good, good, good}; !slices.Equal(o.last, want) {
		t.Errorf("the files in use were %v; want %v", o.last, want)
	}
}

// TestLog: an error is logged when it comes or changes, and a loaded file with the number of its entries. No line has the content.
func TestLog(t *testing.T) {
	o := paused(t, newSource("hunter2 one"), false)
	for range 3 {
		o.next(t, "", errors.New("away"))
	}
	for range 3 {
		o.next(t, "hunter2 bad", nil)
	}
	lines := strings.Split(strings.TrimSpace(o.log.String()), "\n")
	want := []string{"loaded words\" source=shop/keys entries=2", "away", "line 1 is no word"}
	if len(lines) != len(want) || strings.Contains(o.log.String(), "hunter2") {
		t.Fatalf("the log has %q", lines)
	}
	for i, part := range want {
		if !strings.Contains(lines[i], part) || i > 0 && !strings.Contains(lines[i], "lastGoodKept=true") {
			t.Errorf("line %d is %s; want %s", i, lines[i], part)
		}
	}
}

// TestContextEnds: a read that ends with its context changes nothing, and Close does not wait for the source.
func TestContextEnds(t *testing.T) {
	o := paused(t, newSource("one"), true)
	o.next(t, "one", nil)
	ended, end := context.WithCancel(t.Context())
	end()
	o.source.set("", context.Canceled)
	o.read(ended)
	if o.words() != "one" || o.Err() != nil {
		t.Errorf("in use: %q, %v", o.words(), o.Err())
	}
	slow := newSource("one")
	slow.block = true
	s := Open(Source{Name: "v", Source: slow, Revocable: true, Logger: slog.New(slog.DiscardHandler)}, o.format)
	eventually(t, "a read", func() bool { return slow.count() > 0 })
	s.Close()
	if !errors.Is(s.Err(), ErrUnavailable) {
		t.Errorf("after Close: %v", s.Err())
	}
}

// TestChangesAreReadAtOnce: a live source is read when it says that it has changed, and every other one at each interval.
func TestChangesAreReadAtOnce(t *testing.T) {
	live, format := newSource("one"), paused(t, newSource(""), false).format
	polled := newSource("one")
	for name, tt := range map[string]struct {
		source   *fakeSource
		of       secret.Source
		interval time.Duration
	}{"live": {live, live, time.Hour}, "polled": {polled, struct{ secret.Source }{polled}, time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			s := Open(Source{Name: name, Source: tt.of, Interval: tt.interval, Logger: slog.New(slog.DiscardHandler)}, format)
			defer s.Close()
			for i := range 20 {
				tt.source.set(strings.Repeat("x ", i), nil)
				eventually(t, "the change", func() bool { f, err := s.File(); return err == nil && f.Len() == i })
			}
		})
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("waiting for %s", what)
}

// TestLater: a file that can be used later is used then, without a change of its source.
func TestLater(t *testing.T) {
	source := &fakeSource{text: "a", changed: make(chan struct{})}
	var ready atomic.Bool
	s := Open(Source{Name: "words", Source: source, Interval: time.Millisecond, Logger: slog.New(slog.DiscardHandler)},
		Format[*entries]{Entries: "words", Parse: func([]byte, *entries) (*entries, error) {
			if !ready.Load() {
				return nil, fmt.Errorf("%w: soon", ErrLater)
			}
			return &entries{}, nil
		}})
	defer s.Close()
	if _, err := s.File(); !errors.Is(err, ErrLater) {
		t.Errorf("before: %v", err)
	}
	ready.Store(true)
	for deadline := time.Now().Add(30 * time.Second); s.Err() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it was not used: %v", s.Err())
		}
	}
}
