package rows_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// TestAbout: the records that name a person are found by subject, by who acted and by account, also in more than one page, and no others.
func TestAbout(t *testing.T) {
	t.Parallel()
	s := newStage(t, shared)
	opened := s.open(nil)
	record1 := func(change func(*event.Event)) {
		e := login(0)
		e.Subject = "grace"
		change(&e)
		opened.Record(e)
	}
	const many = 2100
	for range many {
		record1(func(e *event.Event) { e.Subject = "ada" })
	}
	record1(func(e *event.Event) { e.Kind, e.Reason, e.PerformedBy = event.Admin, "session_ended", "ada" })
	record1(func(e *event.Event) {
		e.Kind, e.Subject, e.Account = event.LoginAttempt, "", "ada<&>\"\u2028@example.com"
	})
	record1(func(e *event.Event) { e.Subject = `x","account":"ada<&>` })
	record1(func(e *event.Event) {
		e.Kind, e.Resource = event.Lifecycle, event.Resource{Kind: "user", ID: "1", Action: event.Update}
		e.Changes = &event.Changes{"profile": {After: []byte(`{"account":"ada"}`)}}
	})
	record1(func(e *event.Event) { e.Subject = "ada2" })
	s.close(opened)
	s.server.Do(t, s.db.Name, `INSERT INTO audit_logs (id, writer, seq, hash, record, time, subject, retain_days)
		VALUES (gen_random_uuid(), gen_random_uuid(), 1, '', '{"version":9}', '2026-01-01', 'eve', 400)`)
	for name, tt := range map[string]struct {
		person rows.Person
		want   int
	}{
		"a row that is no record": {rows.Person{Subjects: []string{"eve"}}, 1},
		"a subject":               {rows.Person{Subjects: []string{"ada"}}, many + 1},
		"an account":              {rows.Person{Accounts: []string{"ada<&>\"\u2028@example.com"}}, 1},
		"both":                    {rows.Person{Subjects: []string{"ada"}, Accounts: []string{"ada<&>\"\u2028@example.com", "ada"}}, many + 2},
		"another field":           {rows.Person{Accounts: []string{"ada"}}, 0},
		"nobody":                  {rows.Person{}, 0},
		"cannot be there":         {rows.Person{Subjects: []string{"a\x00b"}, Accounts: []string{"a\x00b"}}, 0},
	} {
		n := 0
		err := rows.About(t.Context(), s.server.Connect(t, s.db.Name), tt.person, func(r *record.Record) error {
			n++
			if r == nil {
				if name != "a row that is no record" {
					t.Errorf("%s: a row is no record", name)
				}
				return nil
			}
			if r.Subject != "ada" && r.PerformedBy != "ada" && !strings.HasPrefix(r.Account, "ada") {
				t.Errorf("%s: %+v", name, r)
			}
			return nil
		})
		if err != nil || n != tt.want {
			t.Errorf("%s: %d records, %v; want %d", name, n, err, tt.want)
		}
	}
}

// as returns a connection with a role.
func (s *stage) as(role string) *pgx.Conn {
	s.t.Helper()
	user, password := s.server.User(s.t, role)
	return s.server.ConnectAs(s.t, user, password, s.db.Name)
}

// TestHolds: while a hold covers a subject, or everything, its keys are not erased, and the error says why. The holder places, lists and releases;
// the eraser erases.
func TestHolds(t *testing.T) {
	t.Parallel()
	s := newStage(t, shared)
	holder, eraser := s.as("postern_audit_holder"), s.as("postern_audit_eraser")
	ada, adaAtID := s.keys.SubjectHash("", "ada"), s.keys.SubjectHash("https://id", "ada")
	for _, subject := range [][]byte{ada, adaAtID} {
		s.server.Do(t, s.db.Name, fmt.Sprintf(`INSERT INTO audit_subject_keys (key_id, subject_hash, wrapped, created) VALUES (gen_random_uuid(), '\x%x', '\x01', now())`, subject))
	}
	erase := func(e rows.Erasure) (int64, error) { return rows.Erase(t.Context(), eraser, e) }
	person := rows.Erasure{Subjects: [][]byte{adaAtID}, Held: [][]byte{ada}, PerformedBy: "dpo", Reason: "Art. 17"}
	for name, subjects := range map[string][][]byte{"the subject": {adaAtID}, "another name": {ada}, "everything": nil} {
		h := rows.Hold{From: time.Unix(0, 0), Reason: "case 7", PlacedBy: "legal"}
		placed, err := rows.PlaceHolds(t.Context(), holder, h, subjects...)
		if err != nil || len(placed) != 1 {
			t.Fatal(placed, err)
		}
		_, err = erase(person)
		if held := (*rows.HeldError)(nil); !errors.As(err, &held) || !errors.Is(err, rows.ErrHeld) || held.Hold.Reason != "case 7" || !strings.Contains(err.Error(), "case 7") {
			t.Errorf("%s: erasing: %v", name, err)
		}
		if n, err := rows.CountKeys(t.Context(), eraser, person.Subjects); err != nil || n != 1 {
			t.Errorf("%s: %d keys, %v", name, n, err)
		}
		for _, want := range []error{nil, rows.ErrNoHold} {
			if err := rows.ReleaseHold(t.Context(), holder, placed[0].ID, "legal 2"); !errors.Is(err, want) {
				t.Errorf("%s: releasing: %v; want %v", name, err, want)
			}
		}
	}
	if present, err := rows.Holds(t.Context(), holder, false); err != nil || len(present) != 0 {
		t.Errorf("%+v, %v", present, err)
	}
	all, err := rows.Holds(t.Context(), holder, true)
	if err != nil || len(all) != 3 || all[0].ReleasedBy != "legal 2" || all[0].Released.IsZero() || !all[0].From.Equal(time.Unix(0, 0)) || !all[0].To.IsZero() {
		t.Errorf("%+v, %v", all, err)
	}
	for _, want := range []int64{1, 0} {
		if n, err := erase(person); err != nil || n != want {
			t.Errorf("erased %d, %v; want %d", n, err, want)
		}
	}
	if n, err := rows.CountKeys(t.Context(), eraser, [][]byte{ada}); err != nil || n != 1 {
		t.Errorf("of another: %d keys, %v", n, err)
	}
	if held, err := rows.HoldsOf(t.Context(), eraser, [][]byte{ada}); err != nil || len(held) != 0 {
		t.Errorf("%+v, %v", held, err)
	}
}

// TestHoldDuringAnErasure: a hold that is being placed is waited for, and then forbids the erasure.
func TestHoldDuringAnErasure(t *testing.T) {
	t.Parallel()
	s := newStage(t, shared)
	holder, eraser, subject := s.as("postern_audit_holder"), s.as("postern_audit_eraser"), s.keys.SubjectHash("", "ada")
	tx, err := holder.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "INSERT INTO audit_holds (reason, placed_by) VALUES ('case 7', 'legal')"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := rows.Erase(context.WithoutCancel(t.Context()), eraser, rows.Erasure{Subjects: [][]byte{subject}})
		done <- err
	}()
	admin := s.server.Connect(t, s.db.Name)
	for waiting := 0; waiting == 0; time.Sleep(time.Millisecond) {
		if err := admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE NOT granted AND locktype = 'advisory' AND datname = $1", s.db.Name).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			t.Fatalf("the erasure did not wait: %v", err)
		default:
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, rows.ErrHeld) {
		t.Errorf("erasing: %v", err)
	}
	var erasures int
	if err := admin.QueryRow(t.Context(), "SELECT count(*) FROM audit_erasures").Scan(&erasures); err != nil || erasures != 0 {
		t.Errorf("%d erasures are recorded, %v", erasures, err)
	}
}
