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
	// longLookBack is how many samples the message of a reported problem must stay the same before it replaces the reported one. The
	// first one is often only that an attempt is still in progress.
	longLookBack = 30
	// maxProblemText keeps a report within the operator's limits, in bytes.
	maxProblemText = 400
)

// watchProblems reports the policy's dependencies that are unavailable, and when its certificates expire.
func (s *sidecar) watchProblems(ctx context.Context, r reports) {
	ticker := time.NewTicker(problemsInterval)
	defer ticker.Stop()
	var d damper
	for {
		r.SetProblems(d.settle(s.enforcer.current().hash, s.resources.Problems()))
		r.SetCertificatesExpire(s.resources.CertificatesExpire())
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
	// seen is the last sample, and alike how many samples in a row are the same with their messages.
	seen  []compiled.Problem
	alike int
}

// settle processes a sample of the active document, and returns what is to be reported.
func (d *damper) settle(document string, seen []compiled.Problem) []compiled.Problem {
	d.samples++
	if document != d.document {
		d.document, d.samples = document, 0
	}
	if d.alike++; !slices.Equal(seen, d.seen) {
		d.seen, d.alike = slices.Clone(seen), 1
	}
	switch {
	case !sameProblems(seen, d.reported):
		if d.differing++; d.differing < lookBack && d.samples != 1 {
			return d.reported
		}
	case d.alike != longLookBack:
		d.differing = 0
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
// a different message is a change only if it stays for longLookBack samples.
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
