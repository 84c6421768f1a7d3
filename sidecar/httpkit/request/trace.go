package request

import (
	"net/http"
	"slices"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// Outcome is what a stage did with a request.
type Outcome string

// The outcomes. A stage that is Unused is not in the policy. A stage that Responded wrote the response itself, without an error.
const (
	Unused    Outcome = "Unused"
	Passed    Outcome = "Passed"
	Refusing  Outcome = "Refused"
	Responded Outcome = "Responded"
	// NotReached says that an earlier stage refused or responded.
	NotReached Outcome = "NotReached"
)

// Trace records what each stage did with one request, for postern test and postern explain. The sidecar traces nothing. It has no
// values of header fields, because they may be secrets. It belongs to the request's goroutine.
type Trace struct {
	// Steps are in the order in which the request met the stages.
	Steps []*Step
	open  []*Step
}

// Step is what one stage did.
type Step struct {
	// Stage is the name in the table of the chain.
	Stage   string
	Outcome Outcome
	// Err is the refusal of this stage, or nil.
	Err *httperr.Error
	// Added, Removed and Changed are names of request fields, sorted.
	Added, Removed, Changed []string
	// Verified is the name of the provider that verified the credential in this stage, or "". Credential is why the credential
	// gave no identity, or nil.
	Verified   string
	Credential *httperr.Error
	// Decisions are the refusals of rules in this stage, enforced or in shadow mode.
	Decisions []Decision
	Notes     []Note

	before state
	// passed is the error of the later stages.
	passed error
}

// Note says what a stage found out about a request, beside refusals.
type Note struct {
	// Rule is the rule in the policy; empty for the default.
	Rule string
	// Text has no values from the request.
	Text string
}

// state is what a stage may change.
type state struct {
	header    http.Header
	identity  bool
	authn     *httperr.Error
	decisions int
}

func stateOf(r *http.Request) state {
	i := From(r)
	return state{r.Header.Clone(), i.Identity != nil, i.AuthnErr, len(i.Decisions)}
}

type traceKey struct{}

// WithTrace returns r with a trace, which a chain that was built for tracing fills.
func WithTrace(r *http.Request, t *Trace) *http.Request { return Set(r, traceKey{}, t) }

// TraceOf returns the trace of r, or nil.
func TraceOf(r *http.Request) *Trace {
	t, _ := r.Context().Value(traceKey{}).(*Trace)
	return t
}

// Note records a note about the stage that has the request. It does nothing if the request is not traced.
func (i *Info) Note(rule, text string) {
	if i.Trace == nil || len(i.Trace.open) == 0 {
		return
	}
	s := i.Trace.open[len(i.Trace.open)-1]
	if n := (Note{rule, text}); !slices.Contains(s.Notes, n) {
		s.Notes = append(s.Notes, n)
	}
}

// Skip records a stage that the policy does not use.
func (t *Trace) Skip(name string) { t.Steps = append(t.Steps, &Step{Stage: name, Outcome: Unused}) }

// Begin records that the stage has got r. The caller calls End.
func (t *Trace) Begin(name string, r *http.Request) *Step {
	From(r).Trace = t
	s := &Step{Stage: name, Outcome: Responded, before: stateOf(r)}
	t.Steps, t.open = append(t.Steps, s), append(t.open, s)
	return s
}

// Open returns the stage that has the request. There is one between Begin and End.
func (t *Trace) Open() *Step { return t.open[len(t.open)-1] }

// Pass records that the stage passes r on.
func (s *Step) Pass(r *http.Request) {
	s.Outcome = Passed
	s.compare(r)
}

// Passed records that the later stages have returned err.
func (s *Step) Passed(r *http.Request, err error) {
	s.passed, s.before.decisions = err, len(From(r).Decisions)
}

// End records that the stage has returned err.
func (t *Trace) End(s *Step, r *http.Request, err error) {
	t.open = slices.DeleteFunc(t.open, func(o *Step) bool { return o == s })
	if s.Outcome != Passed {
		s.compare(r)
	}
	if s.Outcome == Passed {
		s.decided(From(r))
	}
	if err != nil && (s.Outcome != Passed || s.passed != err) {
		s.Outcome, s.Err = Refusing, httperr.From(err)
	}
}

// compare records what the stage has changed.
func (s *Step) compare(r *http.Request) {
	i, before := From(r), s.before
	for name, values := range r.Header {
		switch old, ok := before.header[name]; {
		case !ok:
			s.Added = append(s.Added, name)
		case !slices.Equal(old, values):
			s.Changed = append(s.Changed, name)
		}
	}
	for name := range before.header {
		if _, ok := r.Header[name]; !ok {
			s.Removed = append(s.Removed, name)
		}
	}
	slices.Sort(s.Added)
	slices.Sort(s.Changed)
	slices.Sort(s.Removed)
	if i.Identity != nil && !before.identity {
		s.Verified = i.Identity.Provider
	}
	if i.AuthnErr != before.authn {
		s.Credential = i.AuthnErr
	}
	s.decided(i)
}

// decided adds the decisions of this stage.
func (s *Step) decided(i *Info) {
	s.Decisions = append(s.Decisions, i.Decisions[s.before.decisions:]...)
	s.before.decisions = len(i.Decisions)
}
