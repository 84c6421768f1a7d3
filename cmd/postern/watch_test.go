package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/posterndev/postern/api/compiled"
)

const ownTokens = `apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: app}
spec:
  selector: {}
  tokens:
    issuer: https://shop.example.com
    audiences: [shop]
    signingKey: {secretKeyRef: {name: keys, key: jwk}}
    login: [{methods: [POST], paths: [/login]}]
  rateLimits: [{name: writes, match: [{methods: [POST]}], limit: 5/minute}]
`

const revokeAda = `---
apiVersion: postern.dev/v1alpha1
kind: TokenRevocation
metadata: {name: ada}
spec: {subject: ada}
`

// watching returns a watch of files with these contents, and its first document.
func watching(t *testing.T, contents ...string) (*policyWatch, *compiled.Policy) {
	t.Helper()
	w := &policyWatch{log: slog.New(slog.DiscardHandler), report: reportTo(logOutput{w: &bytes.Buffer{}, text: true}, nil)}
	dir, read := t.TempDir(), [][]byte(nil)
	for i, content := range contents {
		w.files = append(w.files, filepath.Join(dir, fmt.Sprintf("%d.yaml", i)))
		write(t, w.files[i], content)
		read = append(read, []byte(content))
	}
	first, err := w.start(t.Context(), read)
	if err != nil {
		t.Fatal(err)
	}
	return w, first
}

// lookTwice reads a complete change twice, and returns its document.
func lookTwice(t *testing.T, w *policyWatch) *compiled.Policy {
	t.Helper()
	if early := w.look(t.Context()); early != nil {
		t.Error("a change was compiled after one read")
	}
	return w.look(t.Context())
}

func TestWatchWaitsForCompleteFile(t *testing.T) {
	w, first := watching(t, openPolicy)
	if got := lookTwice(t, w); got != nil {
		t.Error("an unchanged file returned a document")
	}
	half := strings.Replace(openPolicy, "5/minute", "6/minute", 1)
	whole := strings.Replace(openPolicy, "5/minute", "60/minute", 1)
	write(t, w.files[0], half)
	w.look(t.Context())
	write(t, w.files[0], whole)
	got := lookTwice(t, w)
	if got == nil || got.Revision != first.Revision+1 || got.RateLimits[0].Limit == first.RateLimits[0].Limit {
		t.Fatalf("got %+v", got)
	}
	write(t, w.files[0], "# a comment\n"+whole)
	if got := lookTwice(t, w); got != nil {
		t.Error("a changed comment returned a document")
	}
}

// TestWatchRevokesOnce checks that a later change of the file does not move a revocation's time. Without issuedBefore it revokes the
// tokens that were issued before its creation.
func TestWatchRevokesOnce(t *testing.T) {
	w, first := watching(t, ownTokens+revokeAda)
	if len(w.created) != 1 || len(first.RevokedTokens) != 1 {
		t.Fatalf("created %v, revoked %+v", w.created, first.RevokedTokens)
	}
	for key := range w.created {
		w.created[key] = w.created[key].Add(-time.Hour)
	}
	for _, limit := range []string{"6/minute", "7/minute"} {
		write(t, w.files[0], strings.Replace(ownTokens, "5/minute", limit, 1)+revokeAda)
		document := lookTwice(t, w)
		if document == nil || len(document.RevokedTokens) != 1 {
			t.Fatalf("%s: document %+v", limit, document)
		}
		if moved := document.RevokedTokens[0].Before - first.RevokedTokens[0].Before; moved != -3600 {
			t.Errorf("%s: the time of the revocation moved by %d s, want -3600 s", limit, moved)
		}
	}
	write(t, w.files[0], ownTokens+strings.Replace(revokeAda, "subject: ada", "subject: bea", 1))
	if document := lookTwice(t, w); document == nil || document.RevokedTokens[0].Before < first.RevokedTokens[0].Before {
		t.Errorf("a revocation with a changed spec is not treated as new: %+v", document)
	}
}

func TestWatchable(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file", "")
	if err := unix.Mkfifo(dir+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir+"/file", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{dir + "/file": true, dir + "/link": true, dir + "/pipe": false, dir: false, dir + "/absent": false, "-": false} {
		if got := watchable(name); got != want {
			t.Errorf("watchable(%s) = %v", name, got)
		}
	}
}

// TestWatchCompilesAgain: a change is not lost if the process that compiles it is killed, or cannot start.
func TestWatchCompilesAgain(t *testing.T) {
	w, first := watching(t, openPolicy)
	var log bytes.Buffer
	w.log = slog.New(slog.NewTextHandler(&log, nil))
	write(t, w.files[0], strings.Replace(openPolicy, "require: Anonymous", "require: Deny", 1))
	before := os.Getenv("GOMEMLIMIT")
	t.Setenv("GOMEMLIMIT", "malformed") // such a process ends at once
	if lookTwice(t, w) != nil || w.look(t.Context()) != nil {
		t.Fatal("a document without a compiler")
	}
	t.Setenv("GOMEMLIMIT", before)
	var got *compiled.Policy
	for range maxPause + 1 {
		if got = w.look(t.Context()); got != nil {
			break
		}
	}
	if got == nil || got.Revision != first.Revision+1 {
		t.Errorf("the change is lost: %+v", got)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors in the log, want 1:\n%s", n, log.String())
	}
}
