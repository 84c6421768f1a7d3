package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/logsink"
	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
)

// retained is the retention of the trail of months, in days.
const retained = 35

// months is a trail of five months up to now in a database, and in the log of sidecars.
type months struct {
	t            *testing.T
	server       *postgrestest.Server
	address, key string
	log          string
	chains       map[string]*hashchain.Chain
}

// direct is a connection as a rows.Database.
type direct struct{ conn *pgx.Conn }

func (d direct) Do(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	return f(ctx, d.conn)
}

// newMonths writes a trail. Of its writers, long runs all the time, short ended four months ago, killed ended then without a last
// checkpoint, unsigned never signed, and late began today.
func newMonths(t *testing.T) *months {
	t.Helper()
	m := &months{t: t, chains: map[string]*hashchain.Chain{}}
	var password string
	m.server, m.address, password = auditServer(t)
	t.Setenv("PGPASSWORD", password)
	m.run("migrate")
	dir := t.TempDir()
	m.key, m.log = filepath.Join(dir, "key"), filepath.Join(dir, "log")
	m.write(m.key, []byte(masterKey))
	var out bytes.Buffer
	conn := m.server.Connect(t, m.database())
	sinks := []interface {
		Deliver(context.Context, []spool.Item) (int, error)
	}{rows.New(rows.Config{Database: direct{conn}, RetainDays: retained, OnRefused: func(_ spool.Item, err error) { t.Error(err) }}), logsink.New(&out, time.Now)}
	deliver := func(items []spool.Item) {
		for _, s := range sinks {
			if _, err := s.Deliver(t.Context(), items); err != nil {
				t.Fatal(err)
			}
		}
	}
	now := time.Now()
	// The first three are removed on every day of the year, and the others are not: a month goes as a whole.
	for i, days := range []int{160, 130, 100, 20, 0} {
		at := now.AddDate(0, 0, -days)
		deliver(m.items("long", at, 10, true))
		if i == 0 {
			deliver(m.items("short", at, 7, true))
			deliver(m.items("killed", at, 5, true))
			deliver(m.items("killed", at, 3, false))
			deliver(m.items("unsigned", at, 3, false))
		}
		m.run("maintain")
	}
	deliver(m.items("unsigned", now, 3, false))
	deliver(m.items("late", now, 20, true))
	m.write(m.log, out.Bytes())
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *months) write(name string, content []byte) {
	m.t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// items returns the next records of a writer, and a checkpoint.
func (m *months) items(writer string, at time.Time, n int, signed bool) (items []spool.Item) {
	m.t.Helper()
	keys, err := personal.Derive(secret.New([]byte(masterKey)))
	if err != nil {
		m.t.Fatal(err)
	}
	signer, err := hashchain.NewSigner(keys.Signing())
	if err != nil {
		m.t.Fatal(err)
	}
	if m.chains[writer] == nil {
		m.chains[writer] = hashchain.New(uuid.Must(uuid.NewV7()))
	}
	chain := m.chains[writer]
	for i := range n {
		encoded, _, err := chain.Append(&record.Record{
			Version: 1, ID: uuid.Must(uuid.NewV7()), Time: record.At(at.Add(time.Duration(i) * time.Millisecond)), Category: record.Authentication, Action: "login",
			Outcome: event.Success, Subject: fmt.Sprint("user", chain.Size()+1), Policy: "shop/orders",
		})
		if err != nil {
			m.t.Fatal(err)
		}
		items = append(items, spool.Item{Kind: spool.Record, Payload: encoded})
	}
	if signed {
		c := chain.Checkpoint("shop/orders")
		c.Time, c.RetainDays = at.Add(time.Second), retained
		note, err := c.Sign(signer)
		if err != nil {
			m.t.Fatal(err)
		}
		items = append(items, spool.Item{Kind: spool.Checkpoint, Payload: note})
	}
	return items
}

func (m *months) database() string {
	m.t.Helper()
	u, err := url.Parse(m.address)
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// run runs a command on the database.
func (m *months) run(command string, args ...string) (out string) {
	m.t.Helper()
	out, stderr, err := run(m.t, "", append([]string{"audit", command, "--database-url", m.address}, args...)...)
	if err != nil && command != "verify" {
		m.t.Fatalf("%s: %v: %s", command, err, stderr)
	}
	return out
}

// verified returns the lines of verify, with the names of writers.
func (m *months) verified(args ...string) (lines []string) {
	m.t.Helper()
	out := m.run("verify", append(args, "--key-file", m.key)...)
	for name, chain := range m.chains {
		out = strings.ReplaceAll(out, chain.Writer().String(), name)
	}
	return strings.Split(strings.TrimSpace(out), "\n")
}

// copied returns the trail in another database, after statements. #name stands for the id of a writer.
func (m *months) copied(statements ...string) *months {
	m.t.Helper()
	name := m.server.Database(m.t)
	m.server.Do(m.t, "postgres", "DROP DATABASE "+name, "CREATE DATABASE "+name+" TEMPLATE "+m.database())
	for _, s := range append(statements, "UPDATE audit_checkpoints SET time = time - interval '1 day'") { // nothing is on its way
		for writer, chain := range m.chains {
			s = strings.ReplaceAll(s, "#"+writer, "'"+chain.Writer().String()+"'::uuid")
		}
		m.server.Do(m.t, name, s)
	}
	c := *m
	c.address = strings.Replace(m.address, "/"+m.database()+"?", "/"+name+"?", 1)
	return &c
}

// forge is a statement that adds a row to audit_pruned which is as that of postern audit maintain but for its checkpoint.
func (m *months) forge(writer string, size uint64, checkpoint string) string {
	m.t.Helper()
	tree, last := &hashchain.Tree{}, record.Hash{}
	conn := m.server.Connect(m.t, m.database())
	defer conn.Close(context.Background())
	result, err := conn.Query(m.t.Context(), "SELECT hash FROM audit_logs WHERE writer = $1 AND seq <= $2 ORDER BY seq", m.chains[writer].Writer(), int64(size))
	if err != nil {
		m.t.Fatal(err)
	}
	hashes, err := pgx.CollectRows(result, pgx.RowTo[[]byte])
	if err != nil {
		m.t.Fatal(err)
	}
	for _, h := range hashes {
		last = record.Hash(h)
		tree.Add(last)
	}
	return fmt.Sprintf(`INSERT INTO audit_pruned (writer, size, last_hash, nodes, through, time, note, checkpoint)
		VALUES (#%s, %d, '\x%x', '\x%x', now() - interval '99 days', now() - interval '1 day', '', %s)`, writer, size, last[:], tree.State(), checkpoint)
}

// TestRetentionVerifies: a trail whose oldest months were removed by retention verifies, and what was removed or changed by hand is found
// and named.
func TestRetentionVerifies(t *testing.T) {
	m := newMonths(t)
	intact := m.verified()
	if want := []string{"no fault found", "48 records were removed because their retention has passed", "9 records are after the last checkpoint of their writer"}; len(intact) != 3 ||
		!strings.HasSuffix(intact[0], want[0]) || intact[1] != want[1] || intact[2] != want[2] {
		t.Fatalf("%q; want %q", intact, want)
	}
	const last = "(SELECT note FROM audit_checkpoints WHERE writer = #late ORDER BY size DESC LIMIT 1)"
	for name, tt := range map[string]struct {
		statements []string
		args       []string
		want       []string
	}{
		"a deleted row":             {statements: []string{"DELETE FROM audit_logs WHERE writer = #long AND seq = 45"}, want: []string{"missing: record 45 of writer long"}},
		"an edited row":             {statements: []string{"UPDATE audit_logs SET subject = 'eve', record = replace(record, 'user45', 'eve') WHERE writer = #long AND seq = 45"}, want: []string{"changed: record 45 (id "}},
		"an edited row with hash":   {statements: []string{"UPDATE audit_logs SET subject = 'eve', record = replace(record, 'user45', 'eve') WHERE writer = #long AND seq = 45", "UPDATE audit_logs SET hash = sha256('\\x00'::bytea || convert_to(record, 'UTF8')) WHERE seq = 45"}, want: []string{"changed: record 45 (id "}},
		"two swapped rows":          {statements: []string{"UPDATE audit_logs SET seq = CASE seq WHEN 45 THEN 46 ELSE 45 END WHERE writer = #long AND seq IN (45, 46)"}, want: []string{"changed: record 45 of writer long: the column seq", "missing: record 45 ", "changed: record 46 of", "reordered: record 45"}},
		"a cut tail":                {statements: []string{"DELETE FROM audit_logs WHERE writer = #long AND seq > 45"}, want: []string{"truncated: records 46 to 50 of writer long"}},
		"a writer":                  {statements: []string{"DELETE FROM audit_logs WHERE writer = #late"}, want: []string{"truncated: records 1 to 20 of writer late"}},
		"a writer, log kept":        {statements: []string{"DELETE FROM audit_logs WHERE writer = #late", "DELETE FROM audit_checkpoints WHERE writer = #late"}, args: []string{"--checkpoints", m.log}, want: []string{"truncated: records 1 to 20 of writer late"}},
		"a tail, log kept":          {statements: []string{"DELETE FROM audit_logs WHERE writer = #long AND seq > 40", "DELETE FROM audit_checkpoints WHERE writer = #long AND size > 40"}, args: []string{"--checkpoints", m.log}, want: []string{"truncated: records 41 to 50 of writer long"}},
		"the first by hand":         {statements: []string{"DELETE FROM audit_logs WHERE writer = #late AND seq < 6"}, want: []string{"missing: records 1 to 5 of writer late"}},
		"after the retention":       {statements: []string{"DELETE FROM audit_logs WHERE writer = #long AND seq = (SELECT min(seq) FROM audit_logs WHERE writer = #long)"}, want: []string{"missing: record 31 of writer long"}},
		"a forged cut":              {statements: []string{"DELETE FROM audit_logs WHERE writer = #late AND seq < 6", m.forge("late", 5, "NULL")}, want: []string{"removed: records 1 to 5 of writer late"}},
		"with its checkpoint":       {statements: []string{"DELETE FROM audit_logs WHERE writer = #late AND seq < 6", m.forge("late", 5, last)}, want: []string{"removed: records 1 to 5 of writer late"}},
		"with another one":          {statements: []string{"DELETE FROM audit_logs WHERE writer = #late AND seq < 6", m.forge("late", 5, "(SELECT checkpoint FROM audit_pruned WHERE writer = #short)")}, want: []string{"forged: records 1 to 5 of writer late", "removed: records 1 to 5 of writer late"}},
		"an edited checkpoint":      {statements: []string{"DELETE FROM audit_logs WHERE writer = #late AND seq < 6", m.forge("late", 5, "regexp_replace("+last+", 'time 20..', 'time 2001')")}, want: []string{"unsigned: records 1 to 20 of writer late", "removed: records 1 to 5 of writer late"}},
		"a whole writer as a cut":   {statements: []string{"DELETE FROM audit_logs WHERE writer = #late", m.forge("late", 20, "NULL")}, want: []string{"removed: records 1 to 20 of writer late"}},
		"a cut over a deleted tail": {statements: []string{"DELETE FROM audit_logs WHERE writer = #long AND seq > 45", m.forge("long", 60, "NULL")}, want: []string{"truncated: records 46 to 50 of writer long"}},
		"a cut that is too large":   {statements: []string{m.forge("late", 1<<62, "NULL")}, want: []string{"malformed: record 4611686018427387904 of writer late", "removed: records 1 to 20 of writer late"}},
		"another state":             {statements: []string{"UPDATE audit_pruned SET nodes = sha256(nodes) || substr(nodes, 33) WHERE writer = #long"}, want: []string{"forged: records 1 to "}},
		"no state":                  {statements: []string{"UPDATE audit_pruned SET nodes = '\\x00' WHERE writer = #long"}, want: []string{"malformed: record 30 of writer long"}},
		"another last hash":         {statements: []string{"UPDATE audit_pruned SET last_hash = sha256('x') WHERE writer = #long"}, want: []string{"forged: record 30 of writer long: it was removed"}},
		"no cut":                    {statements: []string{"DELETE FROM audit_pruned WHERE writer = #long"}, want: []string{"missing: records 1 to 30 of writer long"}},
		"no cut of one that ended":  {statements: []string{"DELETE FROM audit_pruned WHERE writer = #short"}, want: []string{"truncated: records 1 to 7 of writer short"}},
		"no cut, log kept":          {statements: []string{"DELETE FROM audit_pruned WHERE writer = #short", "DELETE FROM audit_checkpoints WHERE writer = #short"}, args: []string{"--checkpoints", m.log}, want: []string{"truncated: records 1 to 7 of writer short"}},
		"nothing, log kept":         {args: []string{"--checkpoints", m.log}, want: []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			c := m.copied(tt.statements...)
			c.t = t
			found := slices.DeleteFunc(c.verified(tt.args...), func(l string) bool { return !strings.Contains(l, " of writer ") && !strings.HasPrefix(l, "malformed") })
			if len(found) != len(tt.want) {
				t.Fatalf("found %q; want %q", found, tt.want)
			}
			for i := range found {
				if !strings.HasPrefix(found[i], tt.want[i]) {
					t.Errorf("found %q; want %q", found, tt.want)
				}
			}
		})
	}
	exported, _, err := run(t, "", "audit", "export", "--database-url", m.address)
	if err != nil {
		t.Fatal(err)
	}
	if out, _, err := run(t, exported, "audit", "verify", "-f", "-", "--key-file", m.key); err != nil || strings.TrimSpace(out) != strings.Join(intact, "\n") {
		t.Errorf("the export: %q, %v; want %q", out, err, intact)
	}
}
