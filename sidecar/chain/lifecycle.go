package chain

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/lifecycle"
)

func (b *builder) lifecycleStage() stage.Stage {
	if b.policy.Audit == nil {
		return nil
	}
	var rules []lifecycle.Rule
	for _, r := range b.policy.Audit.Lifecycle {
		rule := lifecycle.Rule{
			Resource: r.Resource, Action: event.Action(r.Action), Match: routeMatches(r.Match), Changes: r.Changes, Redact: r.Redact, Statuses: r.Statuses,
		}
		if id := r.ID; id != nil {
			rule.ID = lifecycle.ID{ResponseJSON: id.ResponseJSON, RequestJSON: id.RequestJSON, ResponseHeader: id.ResponseHeader, Segment: id.Segment}
		}
		rules = append(rules, rule)
	}
	s, err := lifecycle.New(lifecycle.Config{Rules: rules})
	b.fail(err, "audit.lifecycle")
	return s
}

// trailDenies reports whether requests are refused while the audit trail is full.
func (b *builder) trailDenies() bool {
	a := b.policy.Audit
	return a != nil && a.OnFailure == compiled.Deny && a.Mode == compiled.Enforce && b.policy.Mode == compiled.Enforce
}
