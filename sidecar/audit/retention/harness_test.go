package retention

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/audit/auditsql"
	"github.com/posterndev/postern/sidecar/audit/auditsql/auditsqltest"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
)

var shared *postgrestest.Server

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m, &shared)) }

// trail is a database with an audit trail, and a connection of a user who may maintain it.
type trail struct {
	*auditsqltest.Database
	owner, admin *pgx.Conn
	last         map[int]*record // of each writer
}

type record struct {
	seq  int64
	hash []byte
}

func newTrail(t *testing.T) *trail {
	t.Helper()
	db := auditsqltest.New(t, shared)
	user, password := shared.User(t, auditsql.Owner)
	config, err := shared.Config(user, password, db.Name)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec // as through PgBouncer
	owner, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = owner.Close(context.Background()) })
	return &trail{Database: db, owner: owner, admin: shared.Connect(t, db.Name), last: map[int]*record{}}
}

func writerID(writer int) string { return fmt.Sprintf("019ac5f0-0000-7000-8000-%012d", writer) }

// add writes the next record of a writer, as the writer's role does.
func (tr *trail) add(t *testing.T, writer int, at time.Time, days int, subject string) {
	t.Helper()
	last := tr.last[writer]
	if last == nil {
		last = &record{}
		tr.last[writer] = last
	}
	text := fmt.Sprintf(`{"writer":%d,"seq":%d,"prev":"%x"}`, writer, last.seq+1, last.hash)
	hash := sha256.Sum256([]byte("\x00" + text))
	_, err := tr.admin.Exec(t.Context(), `INSERT INTO audit_logs (id, writer, seq, prev, hash, record, time, category, action, subject, retain_days)
		VALUES (gen_random_uuid(), $1, $2, $3, $4, $5, $6, 'Session', 'login', $7, $8)`,
		writerID(writer), last.seq+1, last.hash, hash[:], text, at, subject, days)
	if err != nil {
		t.Fatal(err)
	}
	last.seq, last.hash = last.seq+1, hash[:]
}

// maintain runs Maintain, which must succeed.
func (tr *trail) maintain(t *testing.T, now time.Time) Result {
	t.Helper()
	r, err := Maintain(t.Context(), tr.owner, now, Config{Pruner: Tree{}, HashSubject: hashSubject})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func hashSubject(subject string) []byte {
	h := sha256.Sum256([]byte(subject))
	return h[:]
}

// query returns the values of one column.
func query[T any](t *testing.T, tr *trail, statement string, args ...any) []T {
	t.Helper()
	rows, err := tr.admin.Query(t.Context(), statement, args...)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// count returns the number of rows of a table.
func (tr *trail) count(t *testing.T, table string) int64 {
	t.Helper()
	return query[int64](t, tr, "SELECT count(*) FROM "+table)[0]
}

// months returns the names of the partitions of a retention.
func (tr *trail) months(t *testing.T, name string) []string {
	t.Helper()
	tx, err := tr.admin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	bounds, err := partitions(t.Context(), tx, name)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(bounds))
}

func date(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 12, 0, 0, 0, time.UTC)
}
