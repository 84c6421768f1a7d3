package apikey

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/keys/keyfile"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// live is a source whose value a test replaces.
type live struct {
	mu      sync.Mutex
	value   string
	changed chan struct{}
}

func (l *live) Read(context.Context) (secret.Value, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.value == "" {
		return secret.Value{}, errors.New("deleted")
	}
	return secret.New([]byte(l.value)), nil
}

func (l *live) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *live) set(value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value = value
	close(l.changed)
	l.changed = make(chan struct{})
}

// TestEmptyFile: who empties the file revokes all keys.
func TestEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("- {id: a, subject: s, hash: '" + sum1 + "'}\n")
	log := &logtest.Buffer{}
	s := Open(keyfile.Source{Name: "shop", Source: secret.File(path), Interval: time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil))})
	defer s.Close()
	if f, err := s.File(); err != nil || f.Len() != 1 {
		t.Fatal(f, err)
	}
	for _, text := range []string{"", "\n"} {
		write("- {id: a, subject: s, hash: '" + sum1 + "'}\n")
		eventually(t, "the key", func() bool { f, err := s.File(); return err == nil && f.Len() == 1 })
		write(text)
		eventually(t, "the file without keys", func() bool { f, err := s.File(); return err == nil && f.Len() == 0 && s.Err() == nil })
	}
	before := strings.Count(log.String(), "loaded API keys")
	time.Sleep(50 * time.Millisecond) // time for many reads: each would be a line
	if after := strings.Count(log.String(), "loaded API keys"); after != before {
		t.Errorf("%d lines about a file that did not change", after-before)
	}
}

// eventually waits for a condition, for up to ten seconds.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 2000 {
		if done() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("waiting for " + what)
}

// TestStoreFollows: a change is read at once, a broken file leaves the last good one, and the record of use survives a new file. The
// interval is so long that only the change can be the cause.
func TestStoreFollows(t *testing.T) {
	const one = "- {id: a, subject: s, hash: '" + sum1 + "'}\n"
	two := one + "- {id: b, subject: s, hash: '" + Hash("b") + "'}\n"
	for name, revocable := range map[string]bool{"a mounted file": false, "Vault": true} {
		t.Run(name, func(t *testing.T) {
			log := &logtest.Buffer{}
			source := &live{value: one, changed: make(chan struct{})}
			s := Open(keyfile.Source{Name: "shop", Source: source, Revocable: revocable, Interval: time.Hour, Logger: slog.New(slog.NewTextHandler(log, nil))})
			defer s.Close()
			size := func() int {
				f, err := s.File()
				if err != nil {
					return -1
				}
				return f.Len()
			}
			eventually(t, "the first file", func() bool { return size() == 1 })
			f, _ := s.File()
			f.Entries()[0].Used(time.Unix(7, 0))
			source.set(two)
			eventually(t, "the second file", func() bool { return size() == 2 })
			f, _ = s.File()
			if got := f.Entries()[0].use.last.Load(); got != time.Unix(7, 0).UnixNano() {
				t.Errorf("the last use is %d", got)
			}
			source.set("broken")
			eventually(t, "the broken file to be reported", func() bool { return s.Err() != nil })
			if size() != 2 {
				t.Error("the last good file is not in use")
			}
			source.set("")
			eventually(t, "the deletion", func() bool { return s.Err() != nil && (size() == -1 || !revocable) })
			if !revocable && size() != 2 {
				t.Error("an unreadable file ended the last good one")
			}
			source.set(one)
			eventually(t, "the first file again", func() bool { return size() == 1 && s.Err() == nil })
		})
	}
}
