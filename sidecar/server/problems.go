package server

import (
	"context"
	"slices"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/document"
)

const (
	// problemsInterval lies between two samples of what the policy depends on.
	problemsInterval = time.Second
	// lookBack is how many samples a problem must last, or be absent, before it is reported: each report is a write to the API
	// server, and blips must cause none.
	lookBack = 3
	// maxProblemText keeps a report inside the bounds that the operator accepts, in bytes.
	maxProblemText = 400
)

// watchProblems reports the dependencies of the policy that are unavailable.
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

// damper reports a problem once it has lasted, and its end likewise. A problem that a new document brought is reported sooner:
// only its first sample is uncertain.
type damper struct {
	document string
	// samples is how many there were of the document before.
	samples  int
	reported []compiled.Problem
	// differing is how many samples in a row have differed from what is reported.
	differing int
}

// settle takes a sample of the document in force, and returns what is to be reported.
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

// sameProblems compares kinds and reasons: a message may count attempts or name a connection, and is not a change.
func sameProblems(a, b []compiled.Problem) bool {
	return slices.EqualFunc(a, b, func(a, b compiled.Problem) bool { return a.Kind == b.Kind && a.Reason == b.Reason })
}

func shortened(s string) string { return document.Short(s, maxProblemText) }
