package rows_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// TestUnreadableItems are given up once, so that they do not hold up the others: a sidecar that goes back to an earlier version finds records of the later one on its
// volume.
func TestUnreadableItems(t *testing.T) {
	t.Parallel()
	s := newStage(t, shared)
	r := record.Record{
		Version: record.Version, ID: uuid.Must(uuid.NewV7()), Writer: uuid.Must(uuid.NewV7()), Seq: 1, Category: record.Authentication, Action: "login", Outcome: event.Success, Policy: "shop/orders",
	}
	good, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	r.Version++
	later, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	items := []spool.Item{
		{Kind: spool.Record, Payload: later}, {Kind: spool.Record, Payload: good}, {Kind: spool.SubjectKey, Payload: []byte("{}")}, {Kind: spool.Checkpoint, Payload: []byte("note")},
	}
	if n, err := s.sink().Deliver(t.Context(), items); n != len(items) || err != nil || s.refused != 3 {
		t.Errorf("Deliver = %d, %v, %d refused", n, err, s.refused)
	}
	found := 0
	if err := rows.Latest(t.Context(), s.server.Connect(t, s.db.Name), rows.Filter{}, 0, func(rows.Row) error { found++; return nil }); err != nil || found != 1 {
		t.Errorf("%d records, %v", found, err)
	}
}
