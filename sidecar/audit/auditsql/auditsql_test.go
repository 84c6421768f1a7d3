package auditsql_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posterndev/postern/sidecar/audit/auditsql"
	"github.com/posterndev/postern/sidecar/audit/auditsql/auditsqltest"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
)

var shared *postgrestest.Server

func TestMain(m *testing.M) { os.Exit(postgrestest.Main(m, &shared)) }

// columns of an audit_logs row in the order of row.
var columns = []string{"id", "writer", "seq", "prev", "hash", "record", "time", "category", "action", "outcome", "performed_by", "subject",
	"resource_kind", "resource_id", "ip_address", "request_id", "policy", "pod", "retain_days"}

const writer = "019ac5f0-0000-7000-8000-000000000001"

func row(seq int64, at time.Time, retain int) []any {
	id := fmt.Sprintf("019ac5f0-0000-7000-8000-%012d", seq)
	return []any{id, writer, seq, []byte{1}, []byte{2}, `{"seq":1}`, at, "Authentication", "login", "ok", "ada", "ada", "user", "7", "192.0.2.1",
		"r1", "shop/web", "web-1", retain}
}

// as returns a connection of a new user with a role, with the statement mode of the sidecar.
func as(t *testing.T, db *auditsqltest.Database, role string) *pgx.Conn {
	t.Helper()
	user, password := shared.User(t, role)
	config, err := shared.Config(user, password, db.Name)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestWriterInserts(t *testing.T) {
	t.Parallel()
	db := auditsqltest.New(t, shared)
	conn := as(t, db, auditsql.Writer)
	now := time.Now()
	rows := [][]any{row(1, now, 400), row(2, now, 30), row(3, now.AddDate(-40, 0, 0), 400), row(4, now.AddDate(90, 0, 0), -1)}
	if n, err := conn.CopyFrom(t.Context(), pgx.Identifier{"audit_logs"}, columns, pgx.CopyFromRows(rows)); err != nil || n != 4 {
		t.Fatalf("COPY of rows without a partition: %d, %v", n, err)
	}
	// A batch whose outcome is unknown is sent again.
	places := make([]string, len(columns))
	for i := range places {
		places[i] = fmt.Sprintf("$%d", i+1)
	}
	again := "INSERT INTO audit_logs (" + strings.Join(columns, ",") + ") VALUES (" + strings.Join(places, ",") + ") ON CONFLICT DO NOTHING"
	for seq, want := range map[int64]int64{1: 0, 5: 1} {
		if tag, err := conn.Exec(t.Context(), again, row(seq, now, 400)...); err != nil || tag.RowsAffected() != want {
			t.Errorf("row %d again: %v, %v", seq, tag, err)
		}
	}
	for _, statement := range []string{
		"INSERT INTO audit_checkpoints (writer, size, time, note) VALUES ($1, 1, now(), 'note') ON CONFLICT DO NOTHING",
		"INSERT INTO audit_subject_keys (key_id, subject_hash, wrapped, created) VALUES ($1, '\\x01', '\\x02', now()) ON CONFLICT DO NOTHING",
	} {
		for want := int64(1); want >= 0; want-- {
			if tag, err := conn.Exec(t.Context(), statement, writer); err != nil || tag.RowsAffected() != want {
				t.Errorf("%.40s: %v, %v", statement, tag, err)
			}
		}
	}
}

// attempts are all that a role could try with a table $ and its column #.
var attempts = map[string]string{
	"SELECT": "SELECT count(*) FROM $", "UPDATE": "UPDATE $ SET # = NULL", "DELETE": "DELETE FROM $", "TRUNCATE": "TRUNCATE $",
	"DROP": "DROP TABLE $", "ALTER": "ALTER TABLE $ ADD COLUMN x int", "INDEX": "CREATE INDEX ON $ ((1))", "LOCK": "LOCK TABLE $ IN ACCESS EXCLUSIVE MODE",
	"TRIGGER": "CREATE TRIGGER x BEFORE INSERT ON $ FOR EACH ROW EXECUTE FUNCTION audit_skip_erased_key()",
	"INSERT":  "INSERT INTO $ DEFAULT VALUES", "RULE": "CREATE RULE x AS ON INSERT TO $ DO INSTEAD NOTHING",
}

// tables are all tables, each with a column.
var tables = map[string]string{
	"audit_logs": "record", "audit_logs_default": "record", "audit_checkpoints": "note", "audit_subject_keys": "wrapped", "audit_erasures": "reason",
	"audit_pruned": "note", "audit_holds": "released", "audit_migrations": "is_applied",
}

// allowed are the attempts that a role may make.
var allowed = map[string][]string{
	auditsql.Writer: {"INSERT audit_logs", "INSERT audit_checkpoints", "INSERT audit_subject_keys"},
	auditsql.Reader: {"SELECT audit_logs", "SELECT audit_checkpoints", "SELECT audit_subject_keys", "SELECT audit_erasures", "SELECT audit_pruned", "SELECT audit_holds"},
	auditsql.Eraser: {"SELECT audit_subject_keys", "DELETE audit_subject_keys", "SELECT audit_erasures", "INSERT audit_erasures", "SELECT audit_holds",
		"LOCK audit_subject_keys"}, // PostgreSQL allows that to all who may delete
	auditsql.Holder: {"SELECT audit_holds", "INSERT audit_holds", "UPDATE audit_holds"}, // only the column released
	"":              nil,
}

// TestPrivileges tries everything with every table as every role.
func TestPrivileges(t *testing.T) {
	t.Parallel()
	db := auditsqltest.New(t, shared)
	for role, may := range allowed {
		t.Run("as "+role, func(t *testing.T) {
			var conn *pgx.Conn
			if role == "" {
				user, password := shared.User(t)
				conn = shared.ConnectAs(t, user, password, db.Name)
			} else {
				conn = as(t, db, role)
			}
			left := map[string]bool{}
			for _, m := range may {
				left[m] = true
			}
			for verb, statement := range attempts {
				for table, column := range tables {
					refused := denied(t, conn, strings.NewReplacer("$", table, "#", column).Replace(statement))
					if refused == left[verb+" "+table] {
						t.Errorf("%s %s: refused %v", verb, table, refused)
					}
					delete(left, verb+" "+table)
				}
			}
			if len(left) > 0 {
				t.Errorf("not tried: %v", left)
			}
			for _, statement := range []string{"CREATE TABLE x (n int)", "CREATE TEMPORARY TABLE x (n int)", "CREATE SCHEMA x",
				"CREATE FUNCTION x() RETURNS int LANGUAGE sql AS 'SELECT 1'", "SET ROLE " + auditsql.Owner, "SELECT audit_skip_erased_key()"} {
				if !denied(t, conn, statement) {
					t.Errorf("%s is allowed", statement)
				}
			}
		})
	}
}

// denied runs a statement in a transaction that is rolled back, and reports whether it was refused for lack of a privilege.
func denied(t *testing.T, conn *pgx.Conn, statement string) bool {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	_, err = tx.Exec(t.Context(), statement)
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == "42501"
}

func TestMigrationsAtOnce(t *testing.T) {
	t.Parallel()
	db := &auditsqltest.Database{Server: shared, Name: shared.Database(t)}
	db.Roles(t)
	user, password := shared.User(t, auditsql.Owner)
	config, err := shared.Config(user, password, db.Name)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var applied []int64
	for range 4 {
		wg.Go(func() {
			versions, err := auditsql.Migrate(t.Context(), config, slog.New(slog.DiscardHandler))
			mu.Lock()
			defer mu.Unlock()
			if applied = append(applied, versions...); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir("migrations")
	if err != nil || len(applied) != len(entries) {
		t.Errorf("applied %v of %d, %v", applied, len(entries), err)
	}
	var strangers int
	err = shared.Connect(t, db.Name).QueryRow(t.Context(), `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace
		AND pg_get_userbyid(relowner) <> $1`, auditsql.Owner).Scan(&strangers)
	if err != nil || strangers != 0 {
		t.Errorf("%d relations belong to others than the owner, %v", strangers, err)
	}
}

func TestMigrationWithoutRoles(t *testing.T) {
	t.Parallel()
	name := shared.Database(t)
	user, password := shared.User(t)
	config, err := shared.Config(user, password, name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = auditsql.Migrate(t.Context(), config, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "member of") || strings.Contains(err.Error(), password) {
		t.Errorf("err = %v", err)
	}
}

func TestErasedKeysAreSkipped(t *testing.T) {
	t.Parallel()
	db := auditsqltest.New(t, shared)
	writes, erases := as(t, db, auditsql.Writer), as(t, db, auditsql.Eraser)
	now := time.Now()
	insert := func(n int, subject []byte, created time.Time) {
		t.Helper()
		_, err := writes.Exec(t.Context(), "INSERT INTO audit_subject_keys (key_id, subject_hash, wrapped, created) VALUES ($1, $2, '\\x01', $3)",
			fmt.Sprintf("019ac5f0-0000-7000-8000-%012d", n), subject, created)
		if err != nil {
			t.Fatal(err)
		}
	}
	insert(1, []byte("ada"), now)
	insert(2, []byte("bob"), now)
	if _, err := erases.Exec(t.Context(), "INSERT INTO audit_erasures (subject_hash, time) VALUES ($1, $2)", []byte("ada"), now); err != nil {
		t.Fatal(err)
	}
	if _, err := erases.Exec(t.Context(), "DELETE FROM audit_subject_keys WHERE subject_hash = $1", []byte("ada")); err != nil {
		t.Fatal(err)
	}
	insert(3, []byte("ada"), now.Add(-time.Hour))
	insert(4, []byte("ada"), now)
	insert(5, []byte("ada"), now.Add(time.Hour))
	insert(6, []byte("bob"), now.Add(-time.Hour))
	insert(7, []byte{}, now) // the locks must not refuse it
	rows, _ := erases.Query(t.Context(), "SELECT right(key_id::text, 1) FROM audit_subject_keys ORDER BY 1")
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || strings.Join(got, "") != "2567" {
		t.Errorf("keys %v, %v", got, err)
	}
}

// TestErasureAwaitsKeys: a key that is written at the same time is not missed.
func TestErasureAwaitsKeys(t *testing.T) {
	t.Parallel()
	db := auditsqltest.New(t, shared)
	writes, erases := as(t, db, auditsql.Writer), as(t, db, auditsql.Eraser)
	tx, err := writes.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = tx.Exec(t.Context(), "INSERT INTO audit_subject_keys (key_id, subject_hash, wrapped, created) VALUES (gen_random_uuid(), '\\x01', '\\x01', now())")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- pgx.BeginFunc(t.Context(), erases, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), "INSERT INTO audit_erasures (subject_hash, time) VALUES ('\\x01', now() + interval '1 hour')"); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), "DELETE FROM audit_subject_keys WHERE subject_hash = '\\x01'")
			return err
		})
	}()
	admin := shared.Connect(t, db.Name)
	for waiting := 0; waiting == 0; {
		select {
		case err := <-done:
			t.Fatalf("the erasure did not wait: %v", err)
		default:
		}
		err := admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'").Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var left int
	if err := admin.QueryRow(t.Context(), "SELECT count(*) FROM audit_subject_keys").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d keys are left, %v", left, err)
	}
}
