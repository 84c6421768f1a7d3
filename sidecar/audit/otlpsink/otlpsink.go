// Package otlpsink is the sink of the audit trail that exports log records to an OpenTelemetry collector.
//
// The body of a log record is the audit record unchanged, or in another form, and its event name is postern.audit. A checkpoint is a log
// record with the event name postern.audit.checkpoint, and the signed note as its body.
package otlpsink

import (
	"context"
	"fmt"
	"time"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/telemetry"
)

// Name is the name of the sink.
const Name = "OTLP"

// The event names of log records.
const (
	RecordEvent     = "postern.audit"
	CheckpointEvent = "postern.audit.checkpoint"
)

// Exporter exports log records. *telemetry.Logs is one.
type Exporter interface {
	Export(ctx context.Context, records []telemetry.Record) (telemetry.Result, error)
}

// Config configures a Sink.
type Config struct {
	Exporter Exporter
	// Form returns the body of a record; nil for the record itself.
	Form func(encoded []byte) ([]byte, error)
	// OnRefused is called with the number of records that the collector refused, and why. They are given up, because OTLP forbids to send them
	// again. So are records that cannot be read, such as those of a later version: they would hold up all others. Required.
	OnRefused func(n int, reason string)
	// Now is the time of a checkpoint.
	Now func() time.Time
}

// Sink exports records. It is safe for concurrent use.
type Sink struct{ cfg Config }

// New returns a sink.
func New(c Config) *Sink { return &Sink{cfg: c} }

// Name implements trail.Sink.
func (*Sink) Name() string { return Name }

// Deliver implements trail.Sink. The keys of subjects are not exported.
func (s *Sink) Deliver(ctx context.Context, items []spool.Item) (int, error) {
	var records []telemetry.Record
	var origin []int // of each record in items
	var unreadable []unread
	for n, i := range items {
		r, ok, err := s.record(i)
		if err != nil {
			unreadable = append(unreadable, unread{n, err})
		} else if ok {
			records, origin = append(records, r), append(origin, n)
		}
	}
	done, err := s.export(ctx, records, append(origin, len(items)))
	for _, u := range unreadable {
		if u.place < done {
			s.cfg.OnRefused(1, u.err.Error())
		}
	}
	return done, err
}

// unread is an item that cannot be read, by its place.
type unread struct {
	place int
	err   error
}

// export exports records, and returns the place of the first item that is not done. origin has the places of the records, and that of the end.
func (s *Sink) export(ctx context.Context, records []telemetry.Record, origin []int) (done int, err error) {
	if len(records) == 0 {
		return origin[0], nil
	}
	result, err := s.cfg.Exporter.Export(ctx, records)
	if result.Rejected > 0 {
		s.cfg.OnRefused(result.Rejected, result.Reason)
	}
	if err != nil {
		return origin[result.Done], fmt.Errorf("exporting %d audit records: %w", len(records), err)
	}
	return origin[len(records)], nil
}

// record returns the log record of an item. ok is false if the item is not exported.
func (s *Sink) record(i spool.Item) (r telemetry.Record, ok bool, err error) {
	switch i.Kind {
	case spool.Checkpoint:
		return telemetry.Record{Time: s.cfg.Now(), Severity: telemetry.Info, Name: CheckpointEvent, Body: i.Payload}, true, nil
	case spool.Record:
	default:
		return r, false, nil
	}
	decoded, err := record.Decode(i.Payload)
	if err != nil {
		return r, false, err
	}
	r = telemetry.Record{Time: decoded.Time.Time, Severity: severity(decoded.Outcome), Name: RecordEvent, TraceID: decoded.TraceID, Body: i.Payload}
	if s.cfg.Form != nil {
		r.Body, err = s.cfg.Form(i.Payload)
	}
	return r, err == nil, err
}

func severity(o event.Outcome) telemetry.Severity {
	if o == event.Success {
		return telemetry.Info
	}
	return telemetry.Warn
}
