package server

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/document"
)

const (
	// problemsInterval is the pause between two samples of the policy's dependencies.
	problemsInterval = time.Second
	// lookBack is how many samples a problem must last, or be absent, before it is reported: each report is a write
	// to the API server, and blips must cause no writes.
	lookBack = 3
	// maxProblemText keeps a report within the operator's limits, in bytes.
	maxProblemText = 400
)

// watchProblems reports the policy's dependencies that are unavailable.
func (s *sidecar) watchProblems(ctx context.Context, r reports) {
	ticker := time.NewTicker(problemsInterval)
	defer ticker.Stop()
	var d damper
	for {
		r.SetProblems(d.settle(s.enforcer.current().hash, s.resources.Problems()))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// damper reports a problem only after it has lasted, and in the same way its end. A problem that a new document
// caused is reported earlier: only its first sample is uncertain.
type damper struct {
	document string
	// samples is the number of samples of the current document before this one.
	samples  int
	reported []compiled.Problem
	// differing is how many samples in a row differ from what is reported.
	differing int
}

// settle processes a sample of the active document, and returns what is to be reported.
func (d *damper) settle(document string, seen []compiled.Problem) []compiled.Problem {
	d.samples++
	if document != d.document {
		d.document, d.samples = document, 0
	}
	if sameProblems(seen, d.reported) {
		d.differing = 0
		return d.reported
	}
	if d.differing++; d.differing < lookBack && d.samples != 1 {
		return d.reported
	}
	d.differing = 0
	d.reported = make([]compiled.Problem, 0, len(seen))
	for _, p := range seen {
		p.Message = shortened(p.Message)
		d.reported = append(d.reported, p)
	}
	return d.reported
}

// sameProblems compares kinds, reasons and the providers whose keys are missing. A message may count attempts or name a connection, so
// a different message is not a change.
func sameProblems(a, b []compiled.Problem) bool {
	return slices.EqualFunc(a, b, func(a, b compiled.Problem) bool {
		return a.Kind == b.Kind && a.Reason == b.Reason && provider(a) == provider(b)
	})
}

// provider returns the provider that the problem is about; empty if it is about none.
func provider(p compiled.Problem) string {
	if p.Kind != compiled.ProblemKeys {
		return ""
	}
	name, _, _ := strings.Cut(p.Message, ":")
	return name
}

func shortened(s string) string { return document.Short(s, maxProblemText) }
