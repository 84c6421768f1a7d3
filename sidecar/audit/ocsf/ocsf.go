// Package ocsf gives audit records the form of the Open Cybersecurity Schema Framework, version 1.3, for tools that read it.
//
// The form is for reading. The record itself is in raw_data, so that the hash chain can still be verified.
package ocsf

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// SchemaVersion is the version of the framework.
const SchemaVersion = "1.3.0"

// Event is a record in the form of the framework.
type Event struct {
	Metadata     Metadata  `json:"metadata"`
	Time         int64     `json:"time"`
	CategoryUID  int       `json:"category_uid"`
	ClassUID     int       `json:"class_uid"`
	ActivityID   int       `json:"activity_id"`
	TypeUID      int       `json:"type_uid"`
	SeverityID   int       `json:"severity_id"`
	StatusID     int       `json:"status_id"`
	StatusDetail string    `json:"status_detail,omitempty"`
	Message      string    `json:"message"`
	Count        uint64    `json:"count,omitempty"`
	Actor        *Actor    `json:"actor,omitempty"`
	User         *User     `json:"user,omitempty"`
	Session      *Object   `json:"session,omitempty"`
	Entity       *Entity   `json:"entity,omitempty"`
	API          *API      `json:"api,omitempty"`
	SrcEndpoint  *Endpoint `json:"src_endpoint,omitempty"`
	HTTPRequest  *Request  `json:"http_request,omitempty"`
	RawData      string    `json:"raw_data"`
}

// The objects of an Event.
type (
	Metadata struct {
		Version        string  `json:"version"`
		UID            string  `json:"uid"`
		Product        Product `json:"product"`
		CorrelationUID string  `json:"correlation_uid,omitempty"`
		EventCode      string  `json:"event_code"`
	}
	Product struct {
		Name       string `json:"name"`
		VendorName string `json:"vendor_name"`
	}
	Actor struct {
		User User `json:"user"`
	}
	User struct {
		UID  string  `json:"uid,omitempty"`
		Name string  `json:"name,omitempty"`
		Org  *Object `json:"org,omitempty"`
	}
	Object struct {
		UID string `json:"uid"`
	}
	Entity struct {
		Type string `json:"type"`
		UID  string `json:"uid,omitempty"`
		Data string `json:"data,omitempty"`
	}
	API struct {
		Operation string `json:"operation"`
		Service   struct {
			Name string `json:"name"`
		} `json:"service"`
	}
	Endpoint struct {
		IP string `json:"ip"`
	}
	Request struct {
		UserAgent string `json:"user_agent,omitempty"`
		UID       string `json:"uid,omitempty"`
	}
)

// The classes. A class begins with the number of its category.
const (
	accountChange    = 3001
	authentication   = 3002
	entityManagement = 3004
	apiActivity      = 6003

	otherActivity = 99
)

// class returns the class and the activity of a record.
func class(r *record.Record) (class, activity int) {
	switch r.Category {
	case record.Lifecycle:
		switch event.Action(r.Action) {
		case event.Create:
			return entityManagement, 1
		case event.Update:
			return entityManagement, 3
		case event.Delete:
			return entityManagement, 4
		}
		return entityManagement, otherActivity
	case record.Admin:
		return entityManagement, otherActivity
	case record.Authorization, record.RateLimit:
		return apiActivity, otherActivity
	case record.Password:
		if r.Action == "password_reset_requested" {
			return accountChange, 4
		}
		return accountChange, 3
	}
	switch r.Action {
	case "login", "login_failed", "api_key_used", "api_key_refused":
		return authentication, 1
	case "logout", "logout_all", "logout_session", "backchannel_logout", "session_ended", "session_evicted":
		return authentication, 2
	case "token_refresh":
		return authentication, 3
	case "login_locked":
		return accountChange, 9
	}
	return authentication, otherActivity
}

// severity is informational, medium for what is refused, and high for what is a sign of an attack or of a fault.
func severity(r *record.Record) int {
	switch {
	case r.Action == "refresh_token_reused" || r.Action == "login_locked" || r.Action == "audit_dropped":
		return 4
	case r.Outcome == event.Success:
		return 1
	}
	return 3
}

// From returns the event of a record, whose JSON is encoded.
func From(r *record.Record, encoded []byte) Event {
	c, activity := class(r)
	e := Event{
		Metadata: Metadata{
			Version: SchemaVersion, UID: r.ID.String(), Product: Product{Name: "Postern", VendorName: "Postern"}, CorrelationUID: r.TraceID, EventCode: r.Action,
		},
		Time: r.Time.UnixMilli(), CategoryUID: c / 1000, ClassUID: c, ActivityID: activity, TypeUID: c*100 + activity, SeverityID: severity(r), StatusID: 1,
		StatusDetail: r.Reason, Message: r.Policy + ": " + r.Action, Count: r.Count, RawData: string(encoded),
	}
	if r.Outcome != event.Success {
		e.StatusID = 2
	}
	e.addUsers(r)
	if r.Session != "" {
		e.Session = &Object{UID: r.Session}
	}
	if r.IPAddress != "" {
		e.SrcEndpoint = &Endpoint{IP: r.IPAddress}
	}
	if r.UserAgent != "" || r.RequestID != "" {
		e.HTTPRequest = &Request{UserAgent: r.UserAgent, UID: r.RequestID}
	}
	if c == entityManagement {
		e.Entity = &Entity{Type: "policy", UID: r.Policy}
	}
	if r.Resource != nil {
		e.Entity = &Entity{Type: r.Resource.Kind, UID: r.Resource.ID}
		if changes, err := json.Marshal(r.Changes); err == nil && len(r.Changes) > 0 {
			e.Entity.Data = string(changes)
		}
	}
	if c == apiActivity {
		e.API = &API{Operation: r.Rule}
		e.API.Service.Name = r.Policy
	}
	return e
}

// addUsers adds whom the record is about, and who acted.
func (e *Event) addUsers(r *record.Record) {
	if r.Subject != "" || r.Account != "" {
		e.User = &User{UID: r.Subject, Name: r.Account}
		if r.Issuer != "" {
			e.User.Org = &Object{UID: r.Issuer}
		}
	}
	switch {
	case r.PerformedBy != "":
		e.Actor = &Actor{User: User{UID: r.PerformedBy}}
	case e.User != nil:
		e.Actor = &Actor{User: *e.User}
	}
}

// Encode returns the JSON of the event of a record's JSON.
func Encode(encoded []byte) ([]byte, error) {
	r, err := record.Decode(encoded)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(From(r, encoded)); err != nil {
		return nil, fmt.Errorf("encoding an OCSF event: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
