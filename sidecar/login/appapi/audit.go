package appapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// Bounds of an event of the app: of names, of the number of changed fields, and of the name of a field, in bytes. Ids and subjects have event.MaxText bytes
// at most, and the changes event.MaxChanges.
const (
	maxName      = 64
	maxFields    = 32
	maxFieldName = 256
)

// Trail is the audit trail.
type Trail interface {
	// Full reports whether events are lost.
	Full() bool
}

// auditRequest is an event of the app.
type auditRequest struct {
	// Action is CREATE, UPDATE or DELETE, or a name of the app's own.
	Action   string        `json:"action"`
	Resource auditResource `json:"resource"`
	// Subject is whom the event is about, and Issuer whose subject it is. PerformedBy is who acted, if that is somebody else.
	Subject     string                 `json:"subject,omitempty"`
	Issuer      string                 `json:"issuer,omitempty"`
	PerformedBy string                 `json:"performed_by,omitempty"`
	Changes     map[string]auditChange `json:"changes,omitempty"`
	// Outcome defaults to success.
	Outcome string `json:"outcome,omitempty"`
	// Reason is a name of the app's own.
	Reason    string `json:"reason,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

type auditResource struct {
	Kind string `json:"kind"`
	ID   string `json:"id,omitempty"`
}

// auditChange has JSON values of a field.
type auditChange struct {
	Before   json.RawMessage `json:"before,omitempty"`
	After    json.RawMessage `json:"after,omitempty"`
	Redacted bool            `json:"redacted,omitempty"`
}

// audit takes an event of the app into the audit trail. It responds with 202, since sinks get it later, and refuses with 422 what is out of bounds, and with
// 503 while the trail is full, if the policy denies requests then.
func (a *api) audit(w http.ResponseWriter, r *http.Request) error {
	var in auditRequest
	if err := readJSON(r, &in); err != nil {
		return err
	}
	e, err := in.event()
	if err != nil {
		return err
	}
	if a.TrailDenies && a.Trail.Full() {
		e := &httperr.Error{Status: http.StatusServiceUnavailable, Code: "audit-unavailable", Detail: "The audit trail is full, because a sink is unavailable. The event was not taken. Try again."}
		return e.With("Retry-After", "1")
	}
	request.Emit(r.Context(), a.Events, e)
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// event returns the event, or why it is refused.
func (in *auditRequest) event() (event.Event, error) {
	e := event.Event{
		Kind: event.Lifecycle, Outcome: event.Outcome(in.Outcome), Reason: in.Reason, PerformedBy: in.PerformedBy, RequestID: in.RequestID,
		Actor:    event.Actor{Subject: in.Subject, Issuer: in.Issuer},
		Resource: event.Resource{Kind: in.Resource.Kind, ID: in.Resource.ID, Action: event.Action(in.Action)},
	}
	if e.Outcome == "" {
		e.Outcome = event.Success
	}
	switch e.Resource.Action {
	case event.Create, event.Update, event.Delete:
	default:
		if !isName(in.Action, lower) || in.Action[0] < 'a' {
			return e, invalid("action must be CREATE, UPDATE or DELETE, or a name of up to 64 lower-case letters, digits, dots, hyphens and underscores that begins with a letter, such as report.exported.")
		}
		if record.Reserved(in.Action) {
			return e, invalid("The action " + in.Action + " is for what the sidecar itself records; write a name of the app's own, such as app." + in.Action + ".")
		}
	}
	switch e.Outcome {
	case event.Success, event.Refused, event.Failed:
	default:
		return e, invalid("outcome must be success, refused or failed.")
	}
	if !isName(in.Resource.Kind, lower+upper) {
		return e, invalid("resource.kind must have 1 to 64 letters, digits, dots, hyphens and underscores, such as user.")
	}
	if in.Reason != "" && !isName(in.Reason, lower) {
		return e, invalid("reason must be a name of up to 64 lower-case letters, digits, dots, hyphens and underscores, such as expired.")
	}
	for _, text := range []string{in.Resource.ID, in.Subject, in.Issuer, in.PerformedBy, in.RequestID} {
		if len(text) > event.MaxText {
			return e, invalid("resource.id, subject, issuer, performed_by and request_id may have 512 bytes each.")
		}
	}
	var err error
	e.Changes, err = changesOf(in.Changes)
	return e, err
}

// changesOf copies the changes, which are refused as a whole if they are out of bounds.
func changesOf(in map[string]auditChange) (*event.Changes, error) {
	if len(in) == 0 {
		return nil, nil
	}
	if len(in) > maxFields {
		return nil, invalid("changes may have 32 fields.")
	}
	out, size := event.Changes{}, 0
	for name, c := range in {
		if name == "" || len(name) > maxFieldName || !utf8.ValidString(name) {
			return nil, invalid("The name of a field in changes must have 1 to 256 bytes.")
		}
		if c.Redacted && (c.Before != nil || c.After != nil) {
			return nil, invalid("A redacted field in changes has neither before nor after.")
		}
		const quotes = 40 // the names of the members of a change, and punctuation
		size += len(name) + len(c.Before) + len(c.After) + quotes
		out[name] = event.Change(c)
	}
	if size > event.MaxChanges {
		return nil, invalid("changes may have 16 KiB.")
	}
	return &out, nil
}

func invalid(detail string) error { return badRequest(http.StatusUnprocessableEntity, detail) }

// The letters of a name, in addition to digits and punctuation.
const (
	lower = "abcdefghijklmnopqrstuvwxyz"
	upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// isName reports whether s is a name of these letters, digits, dots, hyphens and underscores.
func isName(s, letters string) bool {
	return s != "" && len(s) <= maxName && strings.Trim(s, letters+"0123456789_.-") == ""
}
