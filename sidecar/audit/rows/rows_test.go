package rows_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"github.com/posterndev/postern/sidecar/audit/auditsql/auditsqltest"
	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/audit/trail"
	"github.com/posterndev/postern/sidecar/audit/verify"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/store/postgres"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
)

var shared *postgrestest.Server

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m, &shared)) }

// stage is a trail that writes to a database as a user with the role of the writer.
type stage struct {
	t        *testing.T
	server   *postgrestest.Server
	db       *auditsqltest.Database
	pool     *postgres.Pool
	registry *prometheus.Registry
	keys     *personal.Keys
	refused  int
}

func newStage(t *testing.T, server *postgrestest.Server) *stage {
	t.Helper()
	s := &stage{t: t, server: server, db: auditsqltest.New(t, server), registry: prometheus.NewRegistry()}
	user, password := server.User(t, "postern_audit_writer")
	metrics, err := postgres.NewMetrics(s.registry)
	if err != nil {
		t.Fatal(err)
	}
	s.pool, err = postgres.Open(postgres.Config{
		Address: server.Addr, Name: s.db.Name, TLS: postgres.Disable, Timeout: 2 * time.Second,
		Credentials: postgres.Login{User: user, Password: fixed(password)},
	}, metrics, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.pool.Close)
	if s.keys, err = personal.Derive(secret.New(bytes.Repeat([]byte{7}, 32))); err != nil {
		t.Fatal(err)
	}
	return s
}

// fixed is a secret source.
type fixed string

func (f fixed) Read(context.Context) (secret.Value, error) { return secret.New([]byte(f)), nil }

func (s *stage) sink() *rows.Sink {
	return rows.New(rows.Config{
		Database: s.pool, RetainDays: 400, OnRefused: func(spool.Item, error) { s.refused++ },
	})
}

func (s *stage) open(change func(*trail.Config)) *trail.Trail {
	s.t.Helper()
	metrics, err := trail.NewMetrics(s.registry)
	if err != nil {
		s.t.Fatal(err)
	}
	signer, err := hashchain.NewSigner(s.keys.Signing())
	if err != nil {
		s.t.Fatal(err)
	}
	c := trail.Config{
		Policy: "shop/orders", Pod: "orders-1", Categories: record.Categories(), Spool: spool.NewMemory(16 << 20), Sinks: []trail.Sink{s.sink()},
		Keys: func(context.Context) (trail.Keys, error) { return trail.Keys{Signer: signer}, nil }, CheckpointInterval: 50 * time.Millisecond, Metrics: metrics, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&c)
	}
	opened, err := trail.Open(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return opened
}

func (s *stage) close(opened *trail.Trail) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := opened.Close(ctx); err != nil {
		s.t.Fatal(err)
	}
}

func login(n int) event.Event {
	return event.Event{Kind: event.Login, Outcome: event.Success, Time: time.Unix(1_800_000_000+int64(n), 0), Policy: "shop/orders", Actor: event.Actor{Issuer: "https://id", Subject: fmt.Sprint("user", n)}}
}

// verified reads the trail, and returns the findings.
func (s *stage) verified() (found []string, summary verify.Summary) {
	s.t.Helper()
	key, err := note.NewVerifier(hashchain.VerifierKey(s.keys.Signing().Public().(ed25519.PublicKey)))
	if err != nil {
		s.t.Fatal(err)
	}
	v := verify.New(verify.Config{Keys: note.VerifierList(key), OnFinding: func(f verify.Finding) { found = append(found, fmt.Sprintf("%s %d-%d", f.Kind, f.First, f.Last)) }})
	conn := s.server.Connect(s.t, s.db.Name)
	defer conn.Close(context.Background())
	err = rows.Chained(s.t.Context(), conn, func(r rows.Row) error {
		if r.Altered != "" {
			found = append(found, fmt.Sprintf("altered %s of %d", r.Altered, r.Seq))
		}
		r.Altered = ""
		r.Verify(v)
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found, v.Finish()
}

// TestOutageInTheMiddle: the database is killed and comes back during load, and every event is there once.
func TestOutageInTheMiddle(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t, postgrestest.Options{})
	s := newStage(t, server)
	opened := s.open(nil)
	const total = 20_000
	for n := range total {
		for opened.Full() {
			time.Sleep(time.Millisecond) // as requests that are refused
		}
		opened.Record(login(n))
		switch n {
		case total / 4:
			server.Stop()
		case total / 2:
			server.Restart(t)
		}
	}
	s.close(opened)
	found, summary := s.verified()
	if len(found) > 0 || summary.Records != total || summary.Unsigned != 0 || summary.Repeated != 0 {
		t.Errorf("%q, %+v; want %d records", found, summary, total)
	}
}

// TestTampering: what somebody with all rights on the tables does to them is found.
func TestTampering(t *testing.T) {
	t.Parallel()
	s := newStage(t, shared)
	opened := s.open(func(c *trail.Config) { c.CheckpointInterval = time.Hour })
	for n := range 20 {
		opened.Record(login(n))
	}
	s.close(opened)
	if found, summary := s.verified(); len(found) > 0 || summary.Records != 20 || summary.Checkpoints != 1 {
		t.Fatalf("%q, %+v", found, summary)
	}
	const swap = `WITH pair AS (SELECT max(CASE seq WHEN 7 THEN record END) AS a, max(CASE seq WHEN 8 THEN record END) AS b FROM audit_logs WHERE seq IN (7, 8))
		UPDATE audit_logs SET record = CASE seq WHEN 7 THEN pair.b ELSE pair.a END FROM pair WHERE seq IN (7, 8)`
	for name, tt := range map[string]struct {
		statement string
		want      []string
	}{
		"a column":                {"UPDATE audit_logs SET subject = 'eve' WHERE seq = 7", []string{"altered subject of 7"}},
		"a record":                {"UPDATE audit_logs SET record = replace(record, 'user6', 'eve') WHERE seq = 7", []string{"altered subject of 7", "changed 7-7"}},
		"a record and its column": {"UPDATE audit_logs SET record = replace(record, 'user6', 'eve'), subject = 'eve' WHERE seq = 7", []string{"changed 7-7"}},
		"the last with its hash":  {"UPDATE audit_logs SET record = replace(record, 'user19', 'eve'), subject = 'eve', hash = sha256('\\x00'::bytea || convert_to(replace(record, 'user19', 'eve'), 'UTF8')) WHERE seq = 20", []string{"forged 1-20"}},
		"a deleted row":           {"DELETE FROM audit_logs WHERE seq = 7", []string{"missing 7-7"}},
		"two swapped records":     {swap, []string{"altered subject of 7", "missing 7-7", "changed 8-8", "altered subject of 8", "reordered 7-7", "changed 8-8"}},
		"a cut tail":              {"DELETE FROM audit_logs WHERE seq > 17", []string{"truncated 18-20"}},
		"another time":            {"UPDATE audit_logs SET time = time + interval '1 day' WHERE seq = 7", []string{"altered time of 7"}},
	} {
		copied := s.copy(tt.statement)
		found, _ := copied.verified()
		if !slices.Equal(found, tt.want) {
			t.Errorf("%s: found %q; want %q", name, found, tt.want)
		}
	}
}

// copy returns the stage with a copy of its database, changed by a statement.
func (s *stage) copy(statement string) *stage {
	s.t.Helper()
	copied := *s
	s.pool.Close()
	copied.db = &auditsqltest.Database{Server: s.server, Name: s.server.Database(s.t)}
	s.server.Do(s.t, "postgres", "DROP DATABASE "+copied.db.Name, "CREATE DATABASE "+copied.db.Name+" TEMPLATE "+s.db.Name)
	s.server.Do(s.t, copied.db.Name, statement, "UPDATE audit_checkpoints SET time = time - interval '1 day'") // nothing is on its way
	return &copied
}

// TestRowsThatAreRefused: a record that the database refuses is given up, and the others are written.
func TestRowsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t, shared)
	s.server.Do(t, s.db.Name, "ALTER TABLE audit_logs ADD CONSTRAINT odd CHECK (subject <> 'user7')")
	opened := s.open(nil)
	for n := range 20 {
		opened.Record(login(n))
	}
	s.close(opened)
	if found, summary := s.verified(); summary.Records != 19 || s.refused != 1 || !slices.Equal(found, []string{"missing 8-8"}) {
		t.Errorf("%+v, %d refused, found %q", summary, s.refused, found)
	}
}

// TestTextsThatClientsSend are stored as they are, as far as PostgreSQL can, and verify.
func TestTextsThatClientsSend(t *testing.T) {
	t.Parallel()
	s := newStage(t, shared)
	opened := s.open(nil)
	for _, text := range []string{"a\x00b", "\xff\xfe", "\u2028\\'\"; DROP TABLE audit_logs; --", strings.Repeat("é", 300), "\t\n\r", "😀"} {
		e := login(1)
		e.Subject, e.UserAgent, e.RequestID = text, text, text
		opened.Record(e)
	}
	s.close(opened)
	if found, summary := s.verified(); len(found) > 0 || summary.Records != 6 {
		t.Errorf("%q, %+v", found, summary)
	}
}

// TestErasedSubjects: the keys are beside the records, an erasure makes the fields of one subject unreadable, and the trail still verifies.
func TestErasedSubjects(t *testing.T) {
	t.Parallel()
	s := newStage(t, shared)
	opened := s.open(func(c *trail.Config) {
		p, err := personal.NewProtector(s.keys, []personal.Field{personal.IPAddress}, []personal.Field{personal.UserAgent}, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		signed := c.Keys
		c.Keys = func(ctx context.Context) (trail.Keys, error) {
			k, err := signed(ctx)
			k.Protector = p
			return k, err
		}
	})
	for n := range 4 {
		e := login(n % 2)
		e.UserAgent = "curl"
		opened.Record(e)
	}
	s.close(opened)
	conn := s.server.Connect(t, s.db.Name)
	readable := func() (subjects []string) {
		find := rows.Keys(t.Context(), s.server.Connect(t, s.db.Name))
		err := rows.Latest(t.Context(), conn, rows.Filter{}, 0, func(r rows.Row) error {
			read, err := record.Decode(r.Payload)
			if err != nil {
				return err
			}
			complete, err := personal.Reveal(read, s.keys, find)
			if complete && read.UserAgent == "curl" {
				subjects = append(subjects, read.Subject)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return subjects
	}
	if got := readable(); len(got) != 4 {
		t.Errorf("readable are %q", got)
	}
	erased, err := rows.Erase(t.Context(), conn, rows.Erasure{Subjects: [][]byte{s.keys.SubjectHash("https://id", "user0")}, PerformedBy: "ada", Reason: "Art. 17"})
	if err != nil || erased != 1 {
		t.Errorf("%d keys erased, %v", erased, err)
	}
	if got := readable(); !slices.Equal(got, []string{"user1", "user1"}) {
		t.Errorf("readable are %q", got)
	}
	if found, summary := s.verified(); len(found) > 0 || summary.Records != 4 || summary.Unsigned != 0 {
		t.Errorf("%q, %+v", found, summary)
	}
}

// TestFilters of a search.
func TestFilters(t *testing.T) {
	t.Parallel()
	s := newStage(t, shared)
	opened := s.open(nil)
	for n := range 10 {
		opened.Record(login(n))
	}
	admin := login(10)
	admin.Kind, admin.Reason, admin.PerformedBy, admin.Account = event.Admin, "session_ended", "user3", `<a"da>@example.com`
	opened.Record(admin)
	s.close(opened)
	at := func(n int) time.Time { return time.Unix(1_800_000_000+int64(n), 0) }
	for name, tt := range map[string]struct {
		filter rows.Filter
		limit  int
		want   string
	}{
		"all":                 {rows.Filter{}, 0, "1 2 3 4 5 6 7 8 9 10 11"},
		"the latest":          {rows.Filter{}, 3, "9 10 11"},
		"a subject":           {rows.Filter{Subjects: []string{"user3"}}, 0, "4 11"},
		"an account":          {rows.Filter{Accounts: []string{"x", `<a"da>@example.com`}}, 0, "11"},
		"both":                {rows.Filter{Subjects: []string{"user5"}, Accounts: []string{`<a"da>@example.com`}, Policy: "shop/orders"}, 0, "6 11"},
		"an odd account":      {rows.Filter{Accounts: []string{"%", "example.com", ""}}, 0, ""},
		"an action":           {rows.Filter{Action: "session_ended"}, 0, "11"},
		"a time":              {rows.Filter{From: at(2), To: at(5)}, 0, "3 4 5"},
		"everything together": {rows.Filter{Subjects: []string{"user3", "x"}, Action: "login", Policy: "shop/orders", Outcome: "success", From: at(0), To: at(9)}, 5, "4"},
		"another policy":      {rows.Filter{Policy: "shop/other"}, 0, ""},
		"an injection":        {rows.Filter{Subjects: []string{"' OR true --", "{a,b}"}}, 0, ""},
	} {
		var got []string
		err := rows.Latest(t.Context(), s.server.Connect(t, s.db.Name), tt.filter, tt.limit, func(r rows.Row) error {
			got = append(got, fmt.Sprint(r.Seq))
			return nil
		})
		var matched []string
		if err == nil && tt.limit == 0 {
			err = rows.Latest(t.Context(), s.server.Connect(t, s.db.Name), rows.Filter{}, 0, func(r rows.Row) error {
				read, err := record.Decode(r.Payload)
				if err == nil && tt.filter.Match(read) {
					matched = append(matched, fmt.Sprint(r.Seq))
				}
				return err
			})
			if !slices.Equal(matched, got) {
				t.Errorf("%s: the database selects %q, Match %q", name, got, matched)
			}
		}
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, %v; want %s", name, got, err, tt.want)
		}
	}
}

var _ rows.Database = (*postgres.Pool)(nil)
