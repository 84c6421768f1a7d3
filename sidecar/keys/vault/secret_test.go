package vault

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
)

// clock is the client's clock. Vault itself uses the real time.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func TestSecretFollowsTheLatestVersion(t *testing.T) {
	t.Parallel()
	path := put(t, map[string]any{"password": "s3cret-1", "other": "x", "number": 5, "empty": ""})
	h := open(t, tokenFile(t, "reader"), nil)
	latest := hold(t, h, Ref{Path: path, Key: "password"})
	pinned := hold(t, h, Ref{Path: strings.Replace(path, "secret/", "secret/data/", 1), Key: "password", Version: 1})
	if got := read(t, latest); got != "s3cret-1" {
		t.Fatalf("value = %q", got)
	}
	r, err := latest.Current(t.Context())
	if err != nil || r.Version != 1 || time.Since(r.Created).Abs() > time.Hour || r.Expires.Before(time.Now().Add(23*time.Hour)) {
		t.Errorf("reading = %+v, %v", r, err)
	}
	changed := latest.Changed()
	putNext(t, path, map[string]any{"password": "s3cret-2"})
	select {
	case <-changed:
	case <-time.After(time.Minute):
		t.Fatal("the rotation was not noticed")
	}
	if got := read(t, latest); got != "s3cret-2" {
		t.Errorf("value after the rotation = %q", got)
	}
	if got := read(t, pinned); got != "s3cret-1" {
		t.Errorf("pinned value after the rotation = %q", got)
	}
	checkHistory(t, latest, pinned)
	if !strings.Contains(h.log.String(), `"secret rotated"`) {
		t.Error("the rotation is not in the log")
	}
	if st := h.Status(); len(st.Secrets) != 2 || !st.Secrets[1].Ready || st.Secrets[1].Current != 2 {
		t.Errorf("status = %+v", st.Secrets)
	}
	if got := h.gauge(t, "postern_vault_secret_ready", path); got != 1 {
		t.Errorf("postern_vault_secret_ready = %v", got)
	}
}

func checkHistory(t *testing.T, latest, pinned *Secret) {
	t.Helper()
	history, err := latest.History(t.Context())
	if err != nil || len(history) != 2 || string(history[0].Value.Reveal()) != "s3cret-1" ||
		string(history[1].Value.Reveal()) != "s3cret-2" || history[0].Created.After(history[1].Created) {
		t.Errorf("history = %v, %v", history, err)
	}
	if history, err = pinned.History(t.Context()); err != nil || len(history) != 1 {
		t.Errorf("history of the pinned version = %v, %v", history, err)
	}
}

func TestSecretRefused(t *testing.T) {
	t.Parallel()
	one := put(t, map[string]any{"number": 5, "empty": ""})
	expiry := put(t, map[string]any{"key": "s3cret"})
	server.Write(t, "secret/metadata/"+strings.TrimPrefix(expiry, "secret/"), map[string]any{"custom_metadata": map[string]any{ExpiryMetadata: "tomorrow"}})
	h := open(t, tokenFile(t, "reader"), nil)
	tests := map[string]struct {
		ref     Ref
		wantErr string
	}{
		"no such key":       {Ref{Path: one, Key: "password"}, "no string under the key"},
		"a number":          {Ref{Path: one, Key: "number"}, "no string under the key"},
		"an empty string":   {Ref{Path: one, Key: "empty"}, "is empty"},
		"no such secret":    {Ref{Path: "secret/refused", Key: "key"}, "no such secret"},
		"no such version":   {Ref{Path: one, Key: "key", Version: 9}, "no such secret"},
		"no such mount":     {Ref{Path: "nowhere/refused", Key: "key"}, "permission_denied"},
		"expiry unreadable": {Ref{Path: expiry, Key: "key"}, "custom metadata postern-expires"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := hold(t, h, tt.ref).Read(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) || !strings.Contains(err.Error(), tt.ref.Path) {
				t.Errorf("error = %v; want one with %q and the path", err, tt.wantErr)
			}
		})
	}
}

func TestSecretDeletedIsWithdrawn(t *testing.T) {
	t.Parallel()
	path := put(t, map[string]any{"key": "s3cret"})
	h := open(t, tokenFile(t, "reader"), nil)
	s := hold(t, h, Ref{Path: path, Key: "key"})
	read(t, s)
	changed := s.Changed()
	if _, err := server.Root().Logical().Delete(strings.Replace(path, "secret/", "secret/data/", 1)); err != nil {
		t.Fatal(err)
	}
	<-changed
	if _, err := s.Read(t.Context()); !errors.Is(err, errNotFound) {
		t.Errorf("error = %v", err)
	}
	changed = s.Changed()
	putNext(t, path, map[string]any{"key": "s3cret-2"})
	<-changed
	if got := read(t, s); got != "s3cret-2" {
		t.Errorf("value = %q", got)
	}
	if history, err := s.History(t.Context()); err != nil || len(history) != 1 {
		t.Errorf("history = %v, %v; want the version that was not deleted", history, err)
	}
}

func TestSecretIsUsableInAnOutageUntilItExpires(t *testing.T) {
	t.Parallel()
	longPath, shortPath := put(t, map[string]any{"key": "s3cret"}), put(t, map[string]any{"key": "s3cret"})
	server.Write(t, "secret/metadata/"+strings.TrimPrefix(shortPath, "secret/"), map[string]any{"custom_metadata": map[string]any{
		ExpiryMetadata: time.Now().Add(time.Hour).Format(time.RFC3339)}})
	link := vaulttest.NewLink(t, server)
	var c clock
	h := open(t, tokenFile(t, "reader"), func(cfg *Config) { cfg.Address, cfg.Now, cfg.MaxStale = link.Address, c.now, 10*time.Hour })
	long, short := hold(t, h, Ref{Path: longPath, Key: "key"}), hold(t, h, Ref{Path: shortPath, Key: "key"})
	read(t, long)
	read(t, short)
	link.Cut()
	h.await(t, Unreachable)
	steps := []struct {
		name                string
		after               time.Duration
		wantLong, wantShort bool
	}{
		{"at once", 0, true, true},
		{"past the value's own expiry", 2 * time.Hour, true, false},
		{"past maxStale", 9 * time.Hour, false, false},
	}
	for _, step := range steps {
		c.advance(step.after)
		for s, want := range map[*Secret]bool{long: step.wantLong, short: step.wantShort} {
			_, err := s.Read(t.Context())
			if want != (err == nil) || !want && !errors.Is(err, ErrExpired) {
				t.Errorf("%s: reading %s: %v; want a value: %v", step.name, s.document.key.path, err, want)
			}
		}
	}
	link.Mend()
	vaulttest.Eventually(t, "the secret to be confirmed", func() bool { _, err := long.Read(t.Context()); return err == nil })
	if _, err := short.Read(t.Context()); !errors.Is(err, ErrExpired) {
		t.Errorf("reading an expired value after the outage: %v", err)
	}
}

func TestSecretSharedAndReleased(t *testing.T) {
	t.Parallel()
	path := put(t, map[string]any{"a": "1", "b": "2"})
	h := open(t, tokenFile(t, "reader"), nil)
	a, releaseA, errA := h.Secret(Ref{Path: path, Key: "a"})
	b, releaseB, errB := h.Secret(Ref{Path: path, Key: "b"})
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if read(t, a)+read(t, b) != "12" || a.document != b.document {
		t.Error("two keys of one secret are not read together")
	}
	releaseA()
	releaseA()
	if len(h.Status().Secrets) != 1 {
		t.Error("the secret is unavailable while it is held")
	}
	releaseB()
	if len(h.Status().Secrets) != 0 {
		t.Error("the secret is still read after its release")
	}
	h.Close()
	if _, _, err := h.Secret(Ref{Path: path, Key: "a"}); err == nil {
		t.Error("a closed client returns secrets")
	}
}

func TestReadEndsWithContext(t *testing.T) {
	t.Parallel()
	h := open(t, TokenFile("/absent"), nil)
	d := newDocument(h.Client, documentKey{path: "secret/never"}) // nobody reads it
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.current(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
}
