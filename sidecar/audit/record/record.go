// Package record defines a record of the audit trail: its fields, its JSON, and how it is made from an event.
//
// The JSON of a record is written once, by its writer, and is never changed after that: the hash of the trail is the hash of these bytes. A
// reader that needs a field decodes the bytes, and keeps them. docs/audit-record.schema.json is the schema of version 1.
package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/google/uuid"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// Version is the version of the schema. A field that is added does not change it; a field that changes its meaning does.
const Version = 1

// Record is one record. Empty fields are not in the JSON.
type Record struct {
	Version int `json:"version"`
	// ID is a UUIDv7. It is the identity of the record: a record that is delivered twice has the same one.
	ID uuid.UUID `json:"id"`
	// Writer is the run of the sidecar that wrote the record, Seq the number of the record among those of its writer, from 1, and Prev
	// the hash of the record before, empty for the first.
	Writer uuid.UUID `json:"writer"`
	Seq    uint64    `json:"seq"`
	Prev   Hash      `json:"prev,omitzero"`
	Time   Time      `json:"time"`

	Category Category      `json:"category"`
	Action   string        `json:"action"`
	Outcome  event.Outcome `json:"outcome"`
	// Reason is a stable name of the reason; empty for a plain success.
	Reason string `json:"reason,omitempty"`
	// PerformedBy is who acted, if that is not the Subject. Subject is whom the event is about. Account is the name that a client
	// gave at a login; nobody has verified it.
	PerformedBy string `json:"performed_by,omitempty"`
	Subject     string `json:"subject,omitempty"`
	Account     string `json:"account,omitempty"`
	Provider    string `json:"provider,omitempty"`
	Issuer      string `json:"issuer,omitempty"`
	Session     string `json:"session,omitempty"`
	TokenID     string `json:"token_id,omitempty"`
	KeyID       string `json:"key_id,omitempty"`

	Resource *Resource `json:"resource,omitempty"`
	// Changes are the changed fields of the resource.
	Changes event.Changes `json:"changes,omitempty"`

	IPAddress string `json:"ip_address,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	RequestID string `json:"request_id,omitempty"`
	TraceID   string `json:"trace_id,omitempty"`
	// Policy is "namespace/name". Pod is the name of the pod.
	Policy string `json:"policy"`
	Pod    string `json:"pod,omitempty"`
	// Rule is the stage and the policy's name of the rule that refused, as stage/name.
	Rule string `json:"rule,omitempty"`

	// Count is the number of events that the record stands for, if there is more than one; see package trail.
	Count uint64 `json:"count,omitempty"`
	// Pseudonyms names the fields whose values are keyed hashes.
	Pseudonyms []string `json:"pseudonyms,omitempty"`
	// Encrypted has the fields that only the key of the subject decrypts.
	Encrypted *Encrypted `json:"encrypted,omitempty"`
}

// Resource is the resource of a record of the category Lifecycle.
type Resource struct {
	Kind string `json:"kind"`
	ID   string `json:"id,omitempty"`
}

// Encrypted has fields of a record, encrypted with AES-256-GCM under a key of the record's subject.
type Encrypted struct {
	// Key is the id of the key.
	Key uuid.UUID `json:"key"`
	// Fields are nonce and ciphertext of the JSON of each field, by name.
	Fields map[string][]byte `json:"fields"`
}

// MaxSize bounds the JSON of a record, in bytes. A record that would be larger loses its changes, and then what is least needed: a client that
// writes long texts must not be able to have no record.
const MaxSize = 32 << 10

// Encode returns the JSON of r. It is at most MaxSize bytes long and has no line break.
func (r *Record) Encode() ([]byte, error) {
	encoded, err := encode(r)
	for _, shorten := range []func(*Record){(*Record).dropChanges, (*Record).dropTexts} {
		if err != nil || len(encoded) <= MaxSize {
			break
		}
		short := *r
		shorten(&short)
		r = &short
		encoded, err = encode(r)
	}
	if err != nil {
		return nil, fmt.Errorf("encoding an audit record: %w", err)
	}
	if len(encoded) > MaxSize {
		return nil, fmt.Errorf("encoding an audit record: %d bytes are more than %d", len(encoded), MaxSize)
	}
	return encoded, nil
}

// changesField is the name of the changes in Encrypted.
const changesField = "changes"

// dropChanges withholds the changes, and says so.
func (r *Record) dropChanges() {
	encrypted := r.Encrypted != nil && r.Encrypted.Fields[changesField] != nil
	if encrypted {
		others := maps.Clone(r.Encrypted.Fields)
		delete(others, changesField)
		r.Encrypted = &Encrypted{Key: r.Encrypted.Key, Fields: others}
	}
	if encrypted || r.Changes != nil {
		r.Changes = event.Changes{changesField: {Redacted: true}}
	}
}

// dropTexts removes the texts without which it is still known who did what.
func (r *Record) dropTexts() {
	r.UserAgent, r.Account, r.Session, r.TokenID, r.KeyID, r.RequestID, r.TraceID = "", "", "", "", "", "", ""
	r.Encrypted = nil
}

func encode(r *Record) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// ErrVersion says that a record was written in a later version of the schema.
var ErrVersion = errors.New("the record has a later version of the schema; use a newer build")

// Decode parses the JSON of one record. Unknown fields are allowed: a newer writer may have added them.
func Decode(encoded []byte) (*Record, error) {
	if len(encoded) > MaxSize {
		return nil, fmt.Errorf("decoding an audit record: %d bytes are more than %d", len(encoded), MaxSize)
	}
	d := json.NewDecoder(bytes.NewReader(encoded))
	r := &Record{}
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("decoding an audit record: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decoding an audit record: something follows the record")
	}
	switch {
	case r.Version > Version:
		return nil, ErrVersion
	case r.Version < 1 || r.Seq < 1 || r.ID == uuid.Nil || r.Writer == uuid.Nil || r.Category == "" || r.Action == "":
		return nil, errors.New("decoding an audit record: not a record: version, id, writer, seq, category or action is missing")
	}
	return r, nil
}

// Time is a time with microseconds, which is what databases keep.
type Time struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05.000000Z"

// At returns t as a Time.
func At(t time.Time) Time { return Time{t.UTC().Truncate(time.Microsecond)} }

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.UTC().Format(timeLayout)), nil }

// MarshalJSON replaces that of time.Time.
func (t Time) MarshalJSON() ([]byte, error) {
	return append(t.UTC().AppendFormat([]byte{'"'}, timeLayout), '"'), nil
}
