package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/manifest"
)

// watchInterval is the time between two reads of the policy's file. A change is compiled when two reads have the same content, so
// that a file is not read while an editor writes it.
const watchInterval = 500 * time.Millisecond

// maxPause is the longest pause between two attempts to compile a change for which no process could be run, in reads of the files.
const maxPause = 64

// policyWatch compiles a policy's files whenever the content of one changes.
type policyWatch struct {
	files  []string
	policy string
	log    *slog.Logger
	// report prints the findings of the files, and returns an error if they prevent the policy from running.
	report func([]manifest.Finding) error

	// last is the content of each file that was compiled last, valid or not. seen is newer content that was read once.
	last, seen [][]byte
	// watched has the files that can be read again.
	watched []string
	// document is the last valid document, and created belongs to its files.
	document []byte
	revision int64
	created  map[string]time.Time
	// classless has the name of the SidecarClass that the policy names, if the files that were read last do not have it.
	classless string
	// failures counts the failed reads since the last successful one.
	failures int
	// pause is how many reads pass before seen is compiled again, if no process could be run for it, and left how many are left; 0 for none.
	pause, left int
}

// name returns the names of the files, for the log.
func (w *policyWatch) name() string { return strings.Join(w.files, ", ") }

// watchable reports whether a file can be read again. A pipe and standard input cannot.
func watchable(name string) bool {
	info, err := os.Stat(name)
	return name != "-" && err == nil && info.Mode().IsRegular()
}

// start compiles the content of the files for the first time.
func (w *policyWatch) start(ctx context.Context, content [][]byte) (*compiled.Policy, error) {
	document, err := w.compile(ctx, content)
	debug.FreeOSMemory() // what initializing this command line's libraries has left
	if err != nil {
		return nil, err
	}
	w.last, w.policy = content, document.Name
	for _, name := range w.files {
		if watchable(name) {
			w.watched = append(w.watched, name)
		}
	}
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

// look reads the files, and returns its document if the document is valid and new.
func (w *policyWatch) look(ctx context.Context) *compiled.Policy {
	content, err := w.read(w.last)
	if err != nil {
		if w.failures++; w.failures == 2 { // ignore a single failure, because editors replace files
			w.log.Error("policy file cannot be read, the previous policy stays active", "file", w.name(), "error", err)
		}
		return nil
	}
	w.failures = 0
	if equal(content, w.last) {
		w.seen = nil
		return nil
	}
	if w.seen == nil || !equal(content, w.seen) {
		w.seen, w.pause, w.left = content, 0, 0
		return nil
	}
	if w.left > 0 {
		w.left--
		return nil
	}
	document, err := w.compile(ctx, content)
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, errCompiler) {
		if w.pause == 0 {
			w.log.Error("changed policy file not compiled yet, the previous policy stays active", "file", w.name(), "error", err)
		}
		w.pause = min(max(2*w.pause, 1), maxPause)
		w.left = w.pause
		return nil
	}
	w.last, w.seen = content, nil
	if err != nil {
		w.log.Error("changed policy file refused, the previous policy stays active", "file", w.name(), "error", err)
		return nil
	}
	if !w.accept(document) {
		w.log.Info("policy file changed, but the policy is the same", "file", w.name())
		return nil
	}
	return document
}

var errNotRegular = errors.New("it is no longer a regular file")

// read returns the content of each file. Of a pipe it returns the previous content, because a pipe can be read once.
func (w *policyWatch) read(previous [][]byte) ([][]byte, error) {
	out := slices.Clone(previous)
	for i, name := range w.files {
		if !slices.Contains(w.watched, name) {
			continue
		}
		if _, err := os.Stat(name); err != nil {
			return nil, err
		}
		if !watchable(name) {
			return nil, fmt.Errorf("%s: %w", name, errNotRegular)
		}
		content, err := readFile(name, nil)
		if err != nil {
			return nil, err
		}
		out[i] = content
	}
	return out, nil
}

func equal(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

// compile compiles the files, reports the findings, and returns the document.
func (w *policyWatch) compile(ctx context.Context, content [][]byte) (*compiled.Policy, error) {
	result, err := compilation{Files: w.files, Content: content, Policy: w.policy, Created: w.created}.runApart(ctx)
	if err != nil {
		return nil, err
	}
	refused := w.report(result.Findings)
	switch {
	case result.Failure != "":
		return nil, errors.New(result.Failure)
	case refused != nil:
		return nil, refused
	}
	document, err := compiled.Decode(result.Document)
	if err != nil {
		return nil, err
	}
	w.created, w.classless = result.Created, result.Classless
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

// reportTo returns a function that reports the findings of files: as lines like those of a compiler in text format, as log records in
// JSON.
func reportTo(o logOutput, log *slog.Logger) func([]manifest.Finding) error {
	return func(findings []manifest.Finding) error {
		if o.text {
			return printFindings(o.w, findings)
		}
		var failed error
		for _, found := range findings {
			level := slog.LevelWarn
			if !found.Warning {
				level, failed = slog.LevelError, errFindings
			}
			log.Log(context.Background(), level, "policy file finding", "file", fmt.Sprintf("%s:%d", found.File, found.Line),
				"object", found.Object, "field", found.Field, "finding", found.Message)
		}
		return failed
	}
}
