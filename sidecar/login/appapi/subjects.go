package appapi

import (
	"encoding/json"
	"net/http"
	"unicode/utf8"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/login/subject"
)

// maxPerson bounds each name of a person and the reason of an erasure, in bytes.
const maxPerson = event.MaxText

// subjectRequest names a person by the subject of their tokens, by the account with which they log in, or by both.
type subjectRequest struct {
	Subject string `json:"subject,omitempty"`
	// Issuer is the issuer of Subject; it defaults to that of the policy's own tokens.
	Issuer string `json:"issuer,omitempty"`
	// Account is the name as its owner writes it to log in.
	Account string `json:"account,omitempty"`
}

// eraseRequest is a subjectRequest with a reason for the audit trail.
type eraseRequest struct {
	Subject string `json:"subject,omitempty"`
	Issuer  string `json:"issuer,omitempty"`
	Account string `json:"account,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// exportSubject responds with what the stores hold of a person.
func (a *api) exportSubject(w http.ResponseWriter, r *http.Request) error {
	var in subjectRequest
	if err := readJSON(r, &in); err != nil {
		return err
	}
	p, err := a.person(in)
	if err != nil {
		return err
	}
	held, err := a.Stores.Export(r.Context(), p)
	a.acted(r, record.ExportSubject, about(p), err)
	if err != nil {
		return unavailable(err)
	}
	return write(w, held)
}

// eraseSubject erases what the stores hold of a person, and responds with how much it was. It may be repeated, also after an error.
func (a *api) eraseSubject(w http.ResponseWriter, r *http.Request) error {
	var in eraseRequest
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if len(in.Reason) > maxPerson || !utf8.ValidString(in.Reason) {
		return invalid("reason may have 512 bytes of UTF-8.")
	}
	p, err := a.person(subjectRequest{Subject: in.Subject, Issuer: in.Issuer, Account: in.Account})
	if err != nil {
		return err
	}
	erased, err := a.Stores.Erase(r.Context(), p)
	e := about(p)
	if in.Reason != "" {
		text, _ := json.Marshal(in.Reason) // a string has a JSON form
		e.Changes = &event.Changes{"reason": {After: text}}
	}
	a.acted(r, record.EraseSubject, e, err)
	if err != nil {
		return unavailable(err)
	}
	return write(w, erased)
}

// person returns who is named, or why the request is refused.
func (a *api) person(in subjectRequest) (subject.Person, error) {
	for _, text := range []string{in.Subject, in.Issuer, in.Account} {
		if len(text) > maxPerson || !utf8.ValidString(text) {
			return subject.Person{}, invalid("subject, issuer and account may have 512 bytes of UTF-8 each.")
		}
	}
	p := subject.Person{Issuer: in.Issuer, Account: a.Stores.Account(in.Account)}
	p.Owner.Subject, p.Owner.Issuer = in.Subject, in.Issuer
	switch {
	case p.Account == "" && in.Account != "":
		return p, invalid("The account is empty.")
	case in.Subject == "" && in.Account == "":
		return p, invalid("Name a person by subject, by account, or by both.")
	case in.Subject == "" && in.Issuer != "":
		return p, invalid("issuer requires subject.")
	case in.Subject == "" || a.Stores.Sessions == nil && a.Stores.Revocations == nil:
		return p, nil
	case in.Issuer == "" && a.Stores.OwnIssuer == "":
		return p, invalid("The policy issues no tokens. Name the issuer of the subject.")
	case in.Issuer != "" && (a.Verifier == nil || !a.Verifier.Accepts(in.Issuer)):
		return p, unknownIssuer(nil)
	}
	if own := a.Stores.OwnIssuer; in.Issuer == "" || in.Issuer == own {
		p.Issuer, p.Owner.Issuer = own, ""
	}
	return p, nil
}

// about returns an event about a person.
func about(p subject.Person) event.Event {
	return event.Event{Actor: event.Actor{Issuer: p.Owner.Issuer, Subject: p.Owner.Subject}, Account: p.Account}
}
