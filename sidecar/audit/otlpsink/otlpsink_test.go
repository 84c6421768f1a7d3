package otlpsink_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/posterndev/postern/sidecar/audit/ocsf"
	"github.com/posterndev/postern/sidecar/audit/otlpsink"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/telemetry"
)

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"

// collector confirms at most room records, of which it rejects one.
type collector struct {
	room int
	got  []telemetry.Record
}

func (c *collector) Export(_ context.Context, records []telemetry.Record) (telemetry.Result, error) {
	n := min(c.room, len(records))
	c.got = append(c.got, records[:n]...)
	result := telemetry.Result{Done: n, Rejected: min(n, 1), Reason: "too old"}
	if n < len(records) {
		return result, errors.New("unavailable")
	}
	return result, nil
}

func encoded(t *testing.T, o event.Outcome) []byte {
	t.Helper()
	r := record.Record{
		Version: record.Version, ID: uuid.Must(uuid.NewV7()), Writer: uuid.Must(uuid.NewV7()), Seq: 1, Time: record.Time{Time: now},
		Category: record.Authentication, Action: "login", Outcome: o, TraceID: traceID, Policy: "shop/orders",
	}
	b, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDeliver(t *testing.T) {
	success, refused := encoded(t, event.Success), encoded(t, event.Refused)
	items := []spool.Item{
		{Kind: spool.SubjectKey, Payload: []byte(`{"secret":1}`)}, {Kind: spool.Record, Payload: success}, {Kind: spool.SubjectKey, Payload: []byte(`{"secret":2}`)},
		{Kind: spool.Record, Payload: refused}, {Kind: spool.Checkpoint, Payload: []byte("note")}, {Kind: spool.SubjectKey, Payload: []byte(`{"secret":3}`)},
	}
	for room, want := range []int{1, 3, 4, 6} {
		c, rejected := &collector{room: room}, 0
		sink := otlpsink.New(otlpsink.Config{
			Exporter: c, OnRefused: func(n int, _ string) { rejected += n }, Now: func() time.Time { return now.Add(time.Minute) },
		})
		done, err := sink.Deliver(t.Context(), items)
		if done != want || (err == nil) != (room == 3) || rejected != min(room, 1) {
			t.Errorf("%d of 3 records exported: Deliver = %d, %v, %d rejected", room, done, err, rejected)
		}
		if room < 3 {
			continue
		}
		for i, want := range []telemetry.Record{
			{Time: now, Severity: telemetry.Info, Name: otlpsink.RecordEvent, TraceID: traceID, Body: success},
			{Time: now, Severity: telemetry.Warn, Name: otlpsink.RecordEvent, TraceID: traceID, Body: refused},
			{Time: now.Add(time.Minute), Severity: telemetry.Info, Name: otlpsink.CheckpointEvent, Body: []byte("note")},
		} {
			got := c.got[i]
			if !got.Time.Equal(want.Time) || got.Severity != want.Severity || got.Name != want.Name || got.TraceID != want.TraceID || string(got.Body) != string(want.Body) {
				t.Errorf("record %d is %+v; want %+v", i, got, want)
			}
		}
	}
}

func TestForm(t *testing.T) {
	c := &collector{room: 1}
	sink := otlpsink.New(otlpsink.Config{Exporter: c, Form: ocsf.Encode, OnRefused: func(int, string) {}, Now: time.Now})
	record := encoded(t, event.Success)
	want, err := ocsf.Encode(record)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Deliver(t.Context(), []spool.Item{{Kind: spool.Record, Payload: record}}); err != nil || string(c.got[0].Body) != string(want) {
		t.Errorf("%v; the body is %s; want %s", err, c.got[0].Body, want)
	}
}

// TestUnreadableRecords are given up, so that they do not hold up the others.
func TestUnreadableRecords(t *testing.T) {
	c, refused := &collector{room: 9}, 0
	sink := otlpsink.New(otlpsink.Config{Exporter: c, OnRefused: func(n int, reason string) {
		if reason != "too old" {
			refused += n
		}
	}, Now: time.Now})
	damaged, good := spool.Item{Kind: spool.Record, Payload: []byte("{")}, spool.Item{Kind: spool.Record, Payload: encoded(t, event.Success)}
	for _, items := range [][]spool.Item{{damaged}, {damaged, good, damaged}} {
		refused = 0
		if n, err := sink.Deliver(t.Context(), items); n != len(items) || err != nil || refused != len(items)/2+1 {
			t.Errorf("%d items: Deliver = %d, %v, %d refused", len(items), n, err, refused)
		}
	}
	c.room, refused = 1, 0
	if n, err := sink.Deliver(t.Context(), []spool.Item{good, damaged, good, damaged}); n != 2 || err == nil || refused != 1 {
		t.Errorf("of two records one is exported: Deliver = %d, %v, %d refused", n, err, refused)
	}
}
