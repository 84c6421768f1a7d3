package event

import "encoding/json"

// Action is what happened to a resource.
type Action string

// The actions.
const (
	Create Action = "CREATE"
	Update Action = "UPDATE"
	Delete Action = "DELETE"
)

// Resource is a resource of the app, such as a user.
type Resource struct {
	// Kind is the policy's or the app's name of the kind of resource, such as user; empty for no resource.
	Kind string
	// ID identifies the resource within its kind; empty if it is not known.
	ID     string
	Action Action
}

// Changes are the changed fields of a resource, by name.
type Changes map[string]Change

// Change is how a field changed. Before and After are JSON values: nil if the value is not known, as it is for most changes that are seen
// only in a request. The code that makes a Changes bounds it, see MaxChanges.
type Change struct {
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
	// Redacted says that the field changed and that its values are withheld.
	Redacted bool `json:"redacted,omitempty"`
}

// MaxChanges bounds a Changes as JSON, in bytes.
const MaxChanges = 16 << 10
