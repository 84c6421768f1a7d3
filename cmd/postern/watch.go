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

// watchInterval is the time between two reads of the policy's file. A change is compiled when two reads have the same content, so
// that a file is not read while an editor writes it.
const watchInterval = 500 * time.Millisecond

// policyWatch compiles a policy's file whenever its content changes.
type policyWatch struct {
	file, policy string
	log          *slog.Logger
	// report prints the findings of a file, and returns an error if they prevent the policy from running.
	report func(*policyFile) error

	// last is the content that was compiled last, valid or not. seen is newer content that was read once.
	last, seen []byte
	// document is the last valid document, and created belongs to its file.
	document []byte
	revision int64
	created  map[string]time.Time
	// failures counts the failed reads since the last successful one.
	failures int
}

// watchable reports whether a file can be read again. A pipe and standard input cannot.
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
	w.last, w.policy = content, document.Name
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

// look reads the file, and returns its document if the document is valid and new.
func (w *policyWatch) look(ctx context.Context) *compiled.Policy {
	content, err := w.read()
	if err != nil {
		if w.failures++; w.failures == 2 { // ignore a single failure, because editors replace files
			w.log.Error("policy file cannot be read, the previous policy stays active", "file", w.file, "error", err)
		}
		return nil
	}
	w.failures = 0
	if bytes.Equal(content, w.last) {
		w.seen = nil
		return nil
	}
	if w.seen == nil || !bytes.Equal(content, w.seen) {
		w.seen = content
		return nil
	}
	w.last, w.seen = content, nil
	document, err := w.compile(ctx, content)
	if err != nil {
		w.log.Error("changed policy file refused, the previous policy stays active", "file", w.file, "error", err)
		return nil
	}
	if !w.accept(document) {
		w.log.Info("policy file changed, but the policy is the same", "file", w.file)
		return nil
	}
	return document
}

var errNotRegular = errors.New("it is no longer a regular file")

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

// accept sets the revision of a valid document, and reports whether it differs from the previous document.
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

// reportTo returns a function that reports a file's findings: as lines like those of a compiler in text format, as log records in
// JSON.
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
