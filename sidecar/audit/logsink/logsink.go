// Package logsink is the sink of the audit trail that writes lines of JSON, usually to the standard output of the sidecar, where the log
// of the sidecar is too.
//
// A line has the record unchanged in its member audit, or a checkpoint in its member checkpoint, so that `postern audit verify` can check
// what a log collector has kept.
package logsink

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/posterndev/postern/sidecar/audit/spool"
)

// Name is the name of the sink.
const Name = "Log"

// Sink writes lines.
type Sink struct {
	w   io.Writer
	now func() time.Time
	// form returns what is written of a record; nil for the record itself.
	form func(encoded []byte) ([]byte, error)
}

// New returns a sink that writes to w. Each call of w.Write has whole lines.
func New(w io.Writer, now func() time.Time) *Sink { return &Sink{w: w, now: now} }

// WithForm returns a sink that also writes a record in another form, in the member event.
func (s *Sink) WithForm(form func(encoded []byte) ([]byte, error)) *Sink {
	return &Sink{w: s.w, now: s.now, form: form}
}

// Name implements trail.Sink.
func (*Sink) Name() string { return Name }

// line is one line. The first members are those of the sidecar's log.
type line struct {
	Time       time.Time       `json:"time"`
	Level      string          `json:"level"`
	Message    string          `json:"msg"`
	Audit      json.RawMessage `json:"audit,omitempty"`
	Event      json.RawMessage `json:"event,omitempty"`
	Checkpoint string          `json:"checkpoint,omitempty"`
}

// Deliver implements trail.Sink. The keys of subjects are not written.
func (s *Sink) Deliver(_ context.Context, items []spool.Item) (int, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, i := range items {
		l := line{Time: s.now(), Level: "INFO", Message: "audit"}
		switch i.Kind {
		case spool.Record:
			l.Audit = i.Payload
			if s.form != nil {
				l.Event, _ = s.form(i.Payload) // a record of a later version has none, and must not hold up the others
			}
		case spool.Checkpoint:
			l.Message, l.Checkpoint = "audit checkpoint", string(i.Payload)
		default:
			continue
		}
		if err := e.Encode(l); err != nil {
			return 0, fmt.Errorf("writing an audit record: %w", err)
		}
	}
	if _, err := s.w.Write(b.Bytes()); err != nil {
		return 0, fmt.Errorf("writing audit records: %w", err)
	}
	return len(items), nil
}
