package stream

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// The bounds of an entry.
const (
	// MaxRetainDays bounds how long an item is kept, in days. 0 means for ever.
	MaxRetainDays = 36500
	// MaxPayload bounds the payload of an entry, in bytes.
	MaxPayload = 64 << 10
)

// Room is the store in the names of keys; see package keyspace.
const Room = "audit"

// Key returns the key of a namespace's stream.
func Key(namespace string) string { return keyspace.New(Room, namespace).Key("stream") }

// RejectedKey returns the key of the stream with the entries of a namespace that the database cannot take.
func RejectedKey(namespace string) string { return keyspace.New(Room, namespace).Key("rejected") }

// Namespace returns the namespace of a stream's key. It returns false for other keys.
func Namespace(key string) (string, bool) {
	_, rest, _ := strings.Cut(key, "{")
	_, rest, _ = strings.Cut(rest, ":")
	namespace, _, _ := strings.Cut(rest, "}")
	return namespace, namespace != "" && !strings.Contains(namespace, "/") && Key(namespace) == key
}

// Entry is one entry of a stream.
type Entry struct {
	Item spool.Item
	// RetainDays is how long the item is kept in the database, in days; 0 means for ever.
	RetainDays int
}

// kinds are the names of the kinds in a stream.
var kinds = map[spool.Kind]string{spool.Record: "record", spool.Checkpoint: "checkpoint", spool.SubjectKey: "subject-key"}

// Decode reads the fields of an entry. The payload is not looked at.
func Decode(fields map[string]any) (e Entry, err error) {
	kind, _ := fields["kind"].(string)
	for k, name := range kinds {
		if name == kind {
			e.Item.Kind = k
		}
	}
	if e.Item.Kind == 0 {
		return Entry{}, fmt.Errorf("reading an entry: the kind %.32q is unknown", kind)
	}
	retain, _ := fields["retain"].(string)
	if e.RetainDays, err = strconv.Atoi(retain); err != nil || e.RetainDays < 0 || e.RetainDays > MaxRetainDays {
		return Entry{}, fmt.Errorf("reading an entry: retain is %.32q; want 0 to %d days", retain, MaxRetainDays)
	}
	payload, _ := fields["payload"].(string)
	if payload == "" || len(payload) > MaxPayload {
		return Entry{}, fmt.Errorf("reading an entry: the payload has %d bytes; want 1 to %d", len(payload), MaxPayload)
	}
	e.Item.Payload = []byte(payload)
	return e, nil
}
