package breached

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/lookup/service"
)

// TestFileStaysInside: neither the path nor a symbolic link leaves the folder, and what is no regular file is not waited for.
func TestFileStaysInside(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "volume")
	line := []byte(digest("hunter2") + ":3\n")
	for _, f := range []string{filepath.Join(base, "outside.txt"), filepath.Join(dir, "a", "pwned.txt")} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(f), 0o700), os.WriteFile(f, line, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(
		os.Symlink("a/pwned.txt", filepath.Join(dir, "inside")), os.Symlink("../a/pwned.txt", filepath.Join(dir, "a", "up")),
		os.Symlink("../outside.txt", filepath.Join(dir, "relative")), os.Symlink(filepath.Join(base, "outside.txt"), filepath.Join(dir, "absolute")),
		os.Symlink("..", filepath.Join(dir, "parent")), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	for path, inside := range map[string]bool{
		"a/pwned.txt": true, "inside": true, "a/up": true,
		"relative": false, "absolute": false, "parent/outside.txt": false, "../outside.txt": false, filepath.Join(base, "outside.txt"): false,
		"a": false, "pipe": false, "missing": false,
	} {
		got, err := NewFile(dir, path, time.Minute, NewPlaces()).Count(t.Context(), "hunter2")
		if inside && (got != 3 || err != nil) || !inside && !errors.Is(err, service.ErrUnavailable) {
			t.Errorf("%s: %d, %v", path, got, err)
		}
	}
}

// TestFileIsReplaced: a file that appears, and one that replaces another, are used by the next look-up.
func TestFileIsReplaced(t *testing.T) {
	dir := t.TempDir()
	f := NewFile(dir, "pwned.txt", time.Minute, NewPlaces())
	if _, err := f.Count(t.Context(), "a"); !errors.Is(err, service.ErrUnavailable) {
		t.Errorf("before the file is there: %v", err)
	}
	for _, password := range []string{"a", "b"} {
		next := filepath.Join(dir, "next")
		if err := errors.Join(os.WriteFile(next, []byte(digest(password)+":1\n"), 0o600), os.Rename(next, filepath.Join(dir, "pwned.txt"))); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{"a", "b"} {
			if n, err := f.Count(t.Context(), p); err != nil || (n == 1) != (p == password) {
				t.Errorf("%s in the list of %s: %d, %v", p, password, n, err)
			}
		}
	}
}

// TestHungVolume: look-ups in a file that cannot be read end by the timeout, and no more than parallel of them wait.
func TestHungVolume(t *testing.T) {
	f := NewFile(t.TempDir(), "pwned.txt", time.Millisecond, NewPlaces())
	hang, started := make(chan struct{}), make(chan struct{}, 2*parallel)
	f.look = func(string) (int, error) {
		started <- struct{}{}
		<-hang
		return 1, nil
	}
	for range 2 * parallel {
		if _, err := f.Count(t.Context(), "x"); !errors.Is(err, service.ErrUnavailable) {
			t.Errorf("%v; want ErrUnavailable", err)
		}
	}
	close(hang)
	for range parallel {
		<-started
	}
	for range parallel { // every place is free again
		f.places <- struct{}{}
	}
	if len(started) != 0 {
		t.Errorf("%d more look-ups were in progress than %d", len(started), parallel)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Count(ctx, "x"); !errors.Is(err, context.Canceled) && !errors.Is(err, service.ErrUnavailable) {
		t.Errorf("after the client left: %v", err)
	}
}
