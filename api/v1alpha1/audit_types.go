package v1alpha1

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Audit records what happens in an audit trail: a chain of records in which a changed or missing one is found. The SidecarClass has the
// keys and the database.
//
// +kubebuilder:validation:XValidation:rule="!has(self.lifecycle) || !has(self.events) || self.events.exists(e, e == 'Lifecycle')",message="lifecycle has rules, but events does not contain Lifecycle, so nothing would be recorded: add Lifecycle to events, or remove lifecycle"
// +kubebuilder:validation:XValidation:rule="!has(self.retain) || has(self.sinks) && self.sinks.exists(s, s == 'PostgreSQL')",message="retain applies to the sink PostgreSQL only: add PostgreSQL to sinks, or remove retain"
// +kubebuilder:validation:XValidation:rule="!has(self.encryptPerSubject) || has(self.sinks) && self.sinks.exists(s, s == 'PostgreSQL')",message="encryptPerSubject needs the sink PostgreSQL, where the keys of the subjects are: add PostgreSQL to sinks, or remove encryptPerSubject"
// +kubebuilder:validation:XValidation:rule="!has(self.format) || self.format != 'OCSF' || !has(self.sinks) || self.sinks.exists(s, s != 'PostgreSQL')",message="format OCSF applies to the sinks Log and OTLP, and there is neither: add Log to sinks, or remove format"
// +kubebuilder:validation:XValidation:rule="!has(self.pseudonymise) || !has(self.encryptPerSubject) || !self.pseudonymise.exists(p, p == 'ClientAddress') || !self.encryptPerSubject.exists(f, f == 'ip_address')",message="the client's address cannot both have a pseudonym and be encrypted: remove ClientAddress from pseudonymise, or ip_address from encryptPerSubject"
type Audit struct {
	// Events are the categories of events that are recorded. docs/audit.md lists the actions of each.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Events []AuditCategory `json:"events,omitempty"`

	// Lifecycle are the routes on which the app creates, updates or deletes a resource, such as a user. The first rule that matches the
	// request and the status of the response applies. The app can also report such events itself, with POST /v1/audit of the loopback API.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Lifecycle []LifecycleRule `json:"lifecycle,omitempty"`

	// Sinks are where records go: Log is the standard output of the sidecar, PostgreSQL the database of the class, and OTLP the log
	// collector of the class's telemetry. Each of them gets every record, at least once.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Sinks []AuditSink `json:"sinks,omitempty"`

	// Format of the records in the sinks Log and OTLP: Postern is that of docs/audit-record.schema.json. OCSF adds the form of the Open
	// Cybersecurity Schema Framework, for tools that read it.
	// +optional
	Format AuditFormat `json:"format,omitempty"`

	// Pseudonymise replaces values in records by a keyed hash, which is the same for the same value: ClientAddress is ip_address, and
	// Subject is subject, account and performed_by. It needs spec.audit.keyRef of the class.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	Pseudonymise []AuditPseudonym `json:"pseudonymise,omitempty"`

	// EncryptPerSubject encrypts fields of records with a key for each subject. postern subject erase deletes the keys of a person, and
	// the chain of records can still be verified. It needs the sink PostgreSQL and spec.audit.keyRef of the class.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	EncryptPerSubject []AuditEncryptedField `json:"encryptPerSubject,omitempty"`

	// Retain is how long records stay in PostgreSQL, in days. They are deleted by month, after the last one of the month is old enough.
	// +optional
	Retain Days `json:"retain,omitempty"`

	// OnFailure is what requests get when the trail can take no more records, because a sink has been unavailable for too long: Deny refuses
	// them with 503 before the app is called, and Allow passes them on and drops the records of what happens then. The trail says how many
	// were dropped.
	// +optional
	OnFailure FailureMode `json:"onFailure,omitempty"`

	// Mode of onFailure: Enforce refuses requests, Shadow only counts and logs them, as Allow does.
	// +optional
	Mode Mode `json:"mode,omitempty"`
}

// AuditCategory is a category of events.
// +kubebuilder:validation:Enum=Authentication;Session;Authorization;RateLimit;Password;APIKey;Admin;Lifecycle
type AuditCategory string

// The categories.
const (
	AuditAuthentication AuditCategory = "Authentication"
	AuditSession        AuditCategory = "Session"
	AuditAuthorization  AuditCategory = "Authorization"
	AuditRateLimit      AuditCategory = "RateLimit"
	AuditPassword       AuditCategory = "Password"
	AuditAPIKey         AuditCategory = "APIKey"
	AuditAdmin          AuditCategory = "Admin"
	AuditLifecycle      AuditCategory = "Lifecycle"
)

// AuditCategories returns all categories, in the order of the documentation.
func AuditCategories() []AuditCategory {
	return []AuditCategory{
		AuditAuthentication, AuditSession, AuditAuthorization, AuditRateLimit, AuditPassword, AuditAPIKey, AuditAdmin, AuditLifecycle,
	}
}

// AuditSink is where records go.
// +kubebuilder:validation:Enum=Log;PostgreSQL;OTLP
type AuditSink string

const (
	// AuditLog is the standard output of the sidecar.
	AuditLog AuditSink = "Log"
	// AuditPostgreSQL is the database of the class.
	AuditPostgreSQL AuditSink = "PostgreSQL"
	// AuditOTLP is the collector of the class's telemetry.
	AuditOTLP AuditSink = "OTLP"
)

// AuditFormat is the format of records.
// +kubebuilder:validation:Enum=Postern;OCSF
type AuditFormat string

const (
	// AuditFormatPostern is the format of docs/audit-record.schema.json.
	AuditFormatPostern AuditFormat = "Postern"
	// AuditFormatOCSF adds the form of the Open Cybersecurity Schema Framework.
	AuditFormatOCSF AuditFormat = "OCSF"
)

// AuditPseudonym is what has a pseudonym.
// +kubebuilder:validation:Enum=ClientAddress;Subject
type AuditPseudonym string

const (
	// PseudonymClientAddress is the client's address.
	PseudonymClientAddress AuditPseudonym = "ClientAddress"
	// PseudonymSubject is the subject, the account and who performed the action.
	PseudonymSubject AuditPseudonym = "Subject"
)

// AuditEncryptedField is a field of records, by its name in their JSON.
// +kubebuilder:validation:Enum=changes;user_agent;ip_address
type AuditEncryptedField string

// LifecycleAction is what happens to a resource.
// +kubebuilder:validation:Enum=CREATE;UPDATE;DELETE
type LifecycleAction string

// The actions.
const (
	LifecycleCreate LifecycleAction = "CREATE"
	LifecycleUpdate LifecycleAction = "UPDATE"
	LifecycleDelete LifecycleAction = "DELETE"
)

// LifecycleRule says which requests create, update or delete a resource.
type LifecycleRule struct {
	// Resource is the kind of the resource, such as user.
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")`,message="not a kind of resource: write a letter and then letters, digits, dots, hyphens and underscores, such as user"
	Resource string `json:"resource"`
	// Action is what happens to it: CREATE, UPDATE or DELETE.
	Action LifecycleAction `json:"action"`
	// Match selects the requests. A match without methods is for POST if the action is CREATE, for PUT and PATCH if it is UPDATE, and for
	// DELETE if it is DELETE.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Match []RouteMatch `json:"match"`
	// ID is the place of the resource's id. If it is unset, records have no id of the resource.
	// +optional
	ID *ResourceID `json:"id,omitempty"`
	// Changes are the fields of the request that are recorded. If it is unset, records have no changes.
	// +optional
	Changes *LifecycleChanges `json:"changes,omitempty"`
	// Statuses are the statuses of responses that say that the action was done.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Minimum=200
	// +kubebuilder:validation:items:Maximum=599
	Statuses []int32 `json:"statuses,omitempty"`
}

// ResourceID is the place of a resource's id. Exactly one of its fields is set.
//
// +kubebuilder:validation:XValidation:rule="[has(self.responseJSON), has(self.requestJSON), has(self.segment), has(self.responseHeader)].filter(x, x).size() == 1",message="set exactly one of responseJSON, requestJSON, segment and responseHeader, such as responseJSON: id"
type ResourceID struct {
	// ResponseJSON is a member of the response's JSON, such as id or user.id.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+){0,7}$")`,message="not a path of JSON members: write up to 8 names of letters, digits, - and _ with dots between them, such as user.id"
	ResponseJSON string `json:"responseJSON,omitempty"`
	// RequestJSON is a member of the request's JSON.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+){0,7}$")`,message="not a path of JSON members: write up to 8 names of letters, digits, - and _ with dots between them, such as user.id"
	RequestJSON string `json:"requestJSON,omitempty"`
	// Segment is a segment of the request's path, by its number from 0: in /users/42, 0 is users, and 1 is 42.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=63
	Segment *int32 `json:"segment,omitempty"`
	// ResponseHeader is a header of the response, such as X-User-ID.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9-]+$')",message="not the name of a header: write letters, digits and hyphens, such as X-User-ID"
	ResponseHeader string `json:"responseHeader,omitempty"`
}

// LifecycleChanges are the fields of a request that are recorded.
//
// +kubebuilder:validation:XValidation:rule="!has(self.redact) || self.redact.all(f, self.requestJSON.exists(g, g == f))",message="redact has a field that is not in requestJSON, so it is not recorded: add it to requestJSON, or remove it from redact"
type LifecycleChanges struct {
	// RequestJSON are members of the request's JSON, such as email or address.city. Their values in the request are recorded as the values
	// after the change.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r"^[A-Za-z0-9_-]+([.][A-Za-z0-9_-]+){0,7}$")`,message="not a path of JSON members: write up to 8 names of letters, digits, - and _ with dots between them, such as user.id"
	RequestJSON []string `json:"requestJSON"`
	// Redact are those of requestJSON whose values are withheld: records say that the field changed.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=256
	Redact []string `json:"redact,omitempty"`
}

// Days is a number of days, such as 400d.
// +kubebuilder:validation:XValidation:rule=`self.matches(r"^([1-9][0-9]{0,2}|[12][0-9]{3}|3[0-5][0-9]{2}|36[0-4][0-9]|3650)d$")`,message="not a number of days: write one from 1d to 3650d, such as 400d"
// +kubebuilder:validation:MaxLength=5
type Days string

// Number returns the number of days; that of the empty text is 0.
func (d Days) Number() (int, error) {
	if d == "" {
		return 0, nil
	}
	number, ok := strings.CutSuffix(string(d), "d")
	n, err := strconv.ParseUint(number, 10, 16)
	if !ok || err != nil || strings.HasPrefix(number, "0") {
		return 0, fmt.Errorf("%.32q is not a number of days; write one from 1d to 3650d, for example 400d", string(d))
	}
	return int(n), nil
}

// Defaults of Audit.
const (
	DefaultAuditSink           = AuditLog
	DefaultAuditFormat         = AuditFormatPostern
	DefaultRetain         Days = "400d"
	DefaultAuditOnFailure      = FailDeny
)

func (a *Audit) setDefaults() {
	if len(a.Events) == 0 {
		a.Events = AuditCategories()
	}
	if len(a.Sinks) == 0 {
		a.Sinks = []AuditSink{DefaultAuditSink}
	}
	for _, sink := range a.Sinks {
		if sink == AuditPostgreSQL {
			set(&a.Retain, DefaultRetain)
		}
	}
	set(&a.Format, DefaultAuditFormat)
	set(&a.OnFailure, DefaultAuditOnFailure)
	set(&a.Mode, DefaultMode)
	for i := range a.Lifecycle {
		a.Lifecycle[i].setDefaults()
	}
}

// setDefaults adds the methods of the action. Without them a rule would record each time that somebody reads the resource.
func (r *LifecycleRule) setDefaults() {
	for i := range r.Match {
		if len(r.Match[i].Methods) > 0 {
			continue
		}
		switch r.Action {
		case LifecycleCreate:
			r.Match[i].Methods = []string{http.MethodPost}
		case LifecycleUpdate:
			r.Match[i].Methods = []string{http.MethodPut, http.MethodPatch}
		case LifecycleDelete:
			r.Match[i].Methods = []string{http.MethodDelete}
		}
	}
}
