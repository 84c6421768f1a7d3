package server

import (
	"context"
	"slices"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/document"
)

const (
	// problemsInterval lies between two looks at what the sidecar depends on.
	problemsInterval = time.Second
	// lookBack is how many looks a problem must last, or be gone, before the operator is told: what mends itself at once is no
	// news, and each report is a write to the API server.
	lookBack = 3
	// maxProblemText keeps a report inside the bounds that the operator accepts, in bytes.
	maxProblemText = 400
)

// watchProblems reports what the sidecar depends on and does not have.
func (s *sidecar) watchProblems(ctx context.Context) {
	ticker := time.NewTicker(problemsInterval)
	defer ticker.Stop()
	var d damper
	for {
		s.keeper.SetProblems(d.settle(s.core.status().hash, s.core.shared.Problems()))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// damper tells of a problem once it has lasted, and of its end likewise; sooner of what is so since a new document, of
// which only the first moment is uncertain.
type damper struct {
	document string
	// looks is how often the document was looked at before.
	looks int
	told  []compiled.Problem
	since int
}

// settle takes what is seen now, of the document in force, and returns what is to be told.
func (d *damper) settle(document string, seen []compiled.Problem) []compiled.Problem {
	d.looks++
	if document != d.document {
		d.document, d.looks = document, 0
	}
	if sameProblems(seen, d.told) {
		d.since = 0
		return d.told
	}
	if d.since++; d.since < lookBack && d.looks != 1 {
		return d.told
	}
	d.since = 0
	d.told = make([]compiled.Problem, 0, len(seen))
	for _, p := range seen {
		p.Message = shortened(p.Message)
		d.told = append(d.told, p)
	}
	return d.told
}

// sameProblems compares kinds and reasons: a message alone, which may count attempts or name a connection, is no news.
func sameProblems(a, b []compiled.Problem) bool {
	return slices.EqualFunc(a, b, func(a, b compiled.Problem) bool { return a.Kind == b.Kind && a.Reason == b.Reason })
}

func shortened(s string) string { return document.Short(s, maxProblemText) }
