package record

import (
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// FromEvent returns the record of an event, without the fields that its writer sets: ID, Writer, Seq and Prev.
func FromEvent(e *event.Event, class Class, pod string) *Record {
	r := &Record{
		Version: Version, Time: At(e.Time), Category: class.Category, Action: class.Action, Outcome: e.Outcome, PerformedBy: e.PerformedBy,
		Subject: e.Subject, Account: e.Account, Provider: e.Provider, Issuer: e.Issuer, Session: e.Session, TokenID: e.TokenID, KeyID: e.KeyID,
		UserAgent: e.UserAgent, RequestID: e.RequestID, TraceID: e.TraceID, Policy: e.Policy, Pod: pod, Rule: rule(e),
	}
	if class.Action != e.Reason {
		r.Reason = e.Reason
	}
	if e.ClientAddr.IsValid() {
		r.IPAddress = e.ClientAddr.String()
	}
	if e.Resource.Kind != "" {
		r.Resource = &Resource{Kind: e.Resource.Kind, ID: e.Resource.ID}
	}
	if e.Changes != nil {
		r.Changes = *e.Changes
	}
	return r
}

// rule names the rule of e, as stage/name.
func rule(e *event.Event) string {
	if e.Rule == "" {
		return e.Stage
	}
	return e.Stage + "/" + e.Rule
}
