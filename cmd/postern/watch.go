package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// watchInterval lies between two looks at the policy's file. A change is compiled when two looks have seen the same content, so
// that a file that an editor is still writing is left alone.
const watchInterval = 500 * time.Millisecond

// policyWatch compiles a policy's file again whenever its content changes.
type policyWatch struct {
	file, policy string
	log          *slog.Logger
	// report tells what is wrong with a file, and returns an error where that keeps the policy from being run.
	report func(*policyFile) error

	// judged is the content that was compiled last, valid or not; seen is newer content, seen once.
	judged, seen []byte
	// document is the last valid one, and created is of its file.
	document []byte
	revision int64
	created  map[string]time.Time
	// failures counts the looks since the file could be read.
	failures int
}

// watchable reports whether a file can be read again: a pipe and standard input cannot.
func watchable(name string) bool {
	info, err := os.Stat(name)
	return name != "-" && err == nil && info.Mode().IsRegular()
}

// start compiles the file's content for the first time.
func (w *policyWatch) start(ctx context.Context, content []byte) (*compiled.Policy, error) {
	document, err := w.compile(ctx, content)
	if err != nil {
		return nil, err
	}
	w.judged, w.policy = content, document.Name
	w.accept(document)
	return document, nil
}

// run sends each changed document to updates until ctx ends.
func (w *policyWatch) run(ctx context.Context, updates chan<- *compiled.Policy) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		document := w.look(ctx)
		if document == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case updates <- document:
		}
	}
}

// look reads the file, and returns its document if that is valid and new.
func (w *policyWatch) look(ctx context.Context) *compiled.Policy {
	content, err := w.read()
	if err != nil {
		if w.failures++; w.failures == 2 { // editors replace files: one failure is none
			w.log.Error("policy file cannot be read, the policy before it stays in force", "file", w.file, "error", err)
		}
		return nil
	}
	w.failures = 0
	if bytes.Equal(content, w.judged) {
		w.seen = nil
		return nil
	}
	if w.seen == nil || !bytes.Equal(content, w.seen) {
		w.seen = content
		return nil
	}
	w.judged, w.seen = content, nil
	document, err := w.compile(ctx, content)
	if err != nil {
		w.log.Error("changed policy file refused, the policy before it stays in force", "file", w.file, "error", err)
		return nil
	}
	if !w.accept(document) {
		w.log.Info("policy file changed, the policy is the same", "file", w.file)
		return nil
	}
	return document
}

var errNotRegular = errors.New("it is not a regular file any more")

func (w *policyWatch) read() ([]byte, error) {
	if _, err := os.Stat(w.file); err != nil {
		return nil, err
	}
	if !watchable(w.file) {
		return nil, errNotRegular
	}
	return readFile(w.file, nil)
}

func (w *policyWatch) compile(ctx context.Context, content []byte) (*compiled.Policy, error) {
	f, err := parsePolicies(ctx, w.file, content)
	if err != nil {
		return nil, err
	}
	f.created = w.created
	document, err := f.document(w.policy, func() error { return w.report(f) })
	if err != nil {
		return nil, err
	}
	w.created = f.creations()
	return document, nil
}

// accept numbers a valid document, and reports whether it differs from the one before.
func (w *policyWatch) accept(document *compiled.Policy) bool {
	document.Revision = 0
	encoded, err := compiled.Encode(document)
	if err == nil && bytes.Equal(encoded, w.document) {
		return false
	}
	w.document = encoded
	w.revision++
	document.Revision = w.revision
	return true
}

// reportTo returns a report of a file's findings: lines as compilers write them for people, else records.
func reportTo(o logOutput, log *slog.Logger) func(*policyFile) error {
	return func(f *policyFile) error {
		if o.text {
			return f.report(o.w)
		}
		var failed error
		for _, found := range f.findings {
			level := slog.LevelWarn
			if !found.Warning {
				level, failed = slog.LevelError, errFindings
			}
			log.Log(context.Background(), level, "policy file finding", "file", fmt.Sprintf("%s:%d", f.name, found.Line),
				"object", found.Object, "field", found.Field, "finding", found.Message)
		}
		return failed
	}
}
