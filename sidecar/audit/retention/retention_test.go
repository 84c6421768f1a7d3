package retention

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/audit/auditsql"
	"github.com/posterndev/postern/sidecar/audit/hashchain"
)

// TestEighteenMonths writes and maintains each week of 18 months: with retentions of 30 and 400 days, every row is in the partition
// of its month, none is dropped before its time, and none is kept longer than its month and its retention.
func TestEighteenMonths(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	start, end := date(2026, time.January, 1), date(2027, time.July, 1)
	written := map[int]int64{}
	for now := start; now.Before(end); now = now.AddDate(0, 0, 7) {
		for writer, days := range map[int]int{1: 30, 2: 400} {
			tr.add(t, writer, now, days, "ada")
			written[days]++
		}
		tr.maintain(t, now)
		for _, days := range []int{30, 400} {
			early := query[int64](t, tr, "SELECT count(*) FROM audit_logs WHERE retain_days = $1", days)[0]
			dropped := query[int64](t, tr, "SELECT coalesce(max(size), 0) FROM audit_pruned WHERE writer = $1", writerID(map[int]int{30: 1, 400: 2}[days]))[0]
			if early+dropped != written[days] {
				t.Fatalf("at %s of %d rows with %d days, %d are there and %d are recorded as dropped", now, written[days], days, early, dropped)
			}
			old := query[int64](t, tr, `SELECT count(*) FROM audit_logs WHERE retain_days = $1 AND date_trunc('month', time, 'UTC') + interval '1 month'
				+ retain_days * interval '1 day' < $2`, days, now)[0]
			if old != 0 {
				t.Fatalf("at %s %d rows with %d days are too old", now, old, days)
			}
		}
		if youngest := query[*time.Time](t, tr, "SELECT max(through) FROM audit_pruned WHERE writer = $1", writerID(1))[0]; youngest != nil && youngest.AddDate(0, 0, 30).After(now) {
			t.Fatalf("at %s a row of %s is dropped", now, youngest)
		}
	}
	if n := tr.count(t, "audit_logs_default") + tr.count(t, "audit_logs_30d_default") + tr.count(t, "audit_logs_400d_default"); n != 0 {
		t.Errorf("%d rows are in default partitions", n)
	}
	want := []string{"audit_logs_30d_2027_05", "audit_logs_30d_2027_06", "audit_logs_30d_2027_07", "audit_logs_30d_2027_08", "audit_logs_30d_2027_09", "audit_logs_30d_default"}
	if got := tr.months(t, "audit_logs_30d"); !slices.Equal(got, want) {
		t.Errorf("partitions %v; want %v", got, want)
	}
	if got := tr.months(t, "audit_logs_400d"); len(got) != 18 || got[0] != "audit_logs_400d_2026_05" {
		t.Errorf("partitions %v", got)
	}
}

// TestOwnerAndPrivileges: new partitions belong to the owner, and give the writer nothing that the table does not.
func TestOwnerAndPrivileges(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	tr.add(t, 1, date(2026, time.March, 3), 400, "ada")
	tr.maintain(t, date(2026, time.March, 4))
	if got := query[string](t, tr, "SELECT DISTINCT tableowner FROM pg_tables WHERE tablename LIKE 'audit_logs%'"); !slices.Equal(got, []string{auditsql.Owner}) {
		t.Errorf("owners %v", got)
	}
	user, password := shared.User(t, auditsql.Writer)
	conn := shared.ConnectAs(t, user, password, tr.Name)
	for _, statement := range []string{"INSERT INTO audit_logs_400d_2026_03 DEFAULT VALUES", "DELETE FROM audit_logs_400d_2026_03", "TRUNCATE audit_logs_400d"} {
		if _, err := conn.Exec(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "42501") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	if n := query[int64](t, tr, "SELECT count(*) FROM pg_indexes WHERE tablename = 'audit_logs_400d_2026_03'")[0]; n != 5 {
		t.Errorf("the partition has %d indexes; want the primary key and four", n)
	}
}

// TestRowsWithoutPartition: rows with a wrong clock or a new retention are accepted, and moved when they can be.
func TestRowsWithoutPartition(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	now := date(2026, time.June, 15)
	tr.add(t, 1, now, 400, "ada")
	tr.maintain(t, now)
	tr.add(t, 1, date(2026, time.February, 2), 400, "ada")      // late
	tr.add(t, 1, date(2031, time.February, 2), 400, "ada")      // a clock that is wrong
	tr.add(t, 1, date(2020, time.February, 2), 400, "ada")      // too old already
	tr.add(t, 2, now, 7, "ada")                                 // a new retention
	tr.add(t, 3, now, 0, "ada")                                 // for ever
	tr.add(t, 4, now, -5, "ada")                                // nonsense
	tr.add(t, 5, now, 1<<30, "ada")                             // nonsense
	for _, endless := range []string{"infinity", "-infinity"} { // nonsense
		if _, err := tr.admin.Exec(t.Context(), `INSERT INTO audit_logs (id, writer, seq, hash, record, time, retain_days)
			VALUES (gen_random_uuid(), $1, 1, '', '', $2::text::timestamptz, 400)`, writerID(6), endless); err != nil {
			t.Fatal(err)
		}
	}
	r := tr.maintain(t, now.AddDate(0, 0, 1))
	// Of the retention of 400 days the late row, and the one that is dropped at once; and one each of the new ones, twice moved.
	if r.Moved != 2+2*2 || !slices.Equal(r.Dropped, []string{"audit_logs_400d_2020_02"}) {
		t.Errorf("result %+v", r)
	}
	where := map[string]int64{"audit_logs_default": 2, "audit_logs_400d_default": 3, "audit_logs_400d_2026_02": 1, "audit_logs_7d_2026_06": 1, "audit_logs_0d_2026_06": 1}
	for table, want := range where {
		if got := tr.count(t, table); got != want {
			t.Errorf("%s has %d rows; want %d", table, got, want)
		}
	}
	if r := tr.maintain(t, now.AddDate(0, 0, 1)); len(r.Made)+len(r.Dropped) > 0 || r.Moved > 0 {
		t.Errorf("a second run did %+v", r)
	}
	// The wrong clock was right after all.
	tr.maintain(t, date(2031, time.January, 31))
	if tr.count(t, "audit_logs_400d_2031_02") != 1 || tr.count(t, "audit_logs_0d_2026_06") != 1 {
		t.Error("the row of 2031 was not moved, or a row with 0 days was dropped")
	}
}

// TestManyRetentionsAndMonths: a writer that chooses them does not choose the number of partitions.
func TestManyRetentionsAndMonths(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	now := date(2026, time.June, 15)
	_, err := tr.admin.Exec(t.Context(), `INSERT INTO audit_logs (id, writer, seq, hash, record, time, retain_days)
		SELECT gen_random_uuid(), gen_random_uuid(), 1, sha256('\x00'), '', timestamptz '2026-06-01' - n * interval '1 month', CASE WHEN n < 200 THEN 10000 ELSE n END
		FROM generate_series(0, 400) n`)
	if err != nil {
		t.Fatal(err)
	}
	r := tr.maintain(t, now)
	if n := len(tr.months(t, "audit_logs")); n > maxRetentions {
		t.Errorf("%d retentions", n)
	}
	if n := len(tr.months(t, "audit_logs_10000d")); n > maxMonths+DefaultAhead+2 {
		t.Errorf("%d months", n)
	}
	if got := tr.count(t, "audit_logs"); got+int64(len(r.Dropped)) != 401 {
		t.Errorf("%d rows are left, and %d months dropped", got, len(r.Dropped))
	}
}

func TestAtOnce(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	tx, err := tr.admin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT pg_advisory_xact_lock($1)", lockID); err != nil {
		t.Fatal(err)
	}
	if _, err := Maintain(t.Context(), tr.owner, time.Now(), Config{Pruner: Tree{}}); !errors.Is(err, ErrBusy) {
		t.Errorf("err = %v", err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	tr.maintain(t, time.Now())
}

// TestWritersDoNotWaitForEver: while somebody reads the month that is to be dropped, the run gives up, and the next one drops it.
func TestWritersDoNotWaitForEver(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	tr.add(t, 1, date(2026, time.January, 5), 30, "ada")
	tr.maintain(t, date(2026, time.January, 6))
	tx, err := tr.admin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT count(*) FROM audit_logs"); err != nil {
		t.Fatal(err)
	}
	r, err := Maintain(t.Context(), tr.owner, date(2026, time.June, 1), Config{Pruner: Tree{}, LockTimeout: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "lock timeout") || len(r.Dropped) > 0 {
		t.Errorf("dropped %v, %v", r.Dropped, err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tr.count(t, "audit_pruned") != 0 || tr.count(t, "audit_logs") != 1 {
		t.Error("a run that gave up has left something")
	}
	if r := tr.maintain(t, date(2026, time.June, 1)); len(r.Dropped) != 4 {
		t.Errorf("dropped %v", r.Dropped)
	}
}

func TestNotTheOwner(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	user, password := shared.User(t, auditsql.Writer)
	_, err := Maintain(t.Context(), shared.ConnectAs(t, user, password, tr.Name), time.Now(), Config{Pruner: Tree{}})
	if err == nil || !strings.Contains(err.Error(), "permission denied to set role") {
		t.Errorf("err = %v", err)
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"no pruner": {}, "many months": {Pruner: Tree{}, Ahead: 25}, "a negative timeout": {Pruner: Tree{}, LockTimeout: -time.Second},
	} {
		if _, err := Maintain(t.Context(), nil, time.Now(), c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// changing is a Pruner during which somebody else writes.
type changing struct{ do func() }

func (c changing) Prune(previous Cut, rows iter.Seq2[Row, error]) (Cut, error) {
	c.do()
	return Tree{}.Prune(previous, rows)
}

// TestLateRow: a row that is written while its month is about to be dropped is recorded as well.
func TestLateRow(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	tr.add(t, 1, date(2026, time.January, 5), 30, "ada")
	tr.maintain(t, date(2026, time.January, 6))
	times := 0
	pruner := changing{func() {
		if times++; times == 1 {
			tr.add(t, 1, date(2026, time.January, 7), 30, "ada")
		}
	}}
	if _, err := Maintain(t.Context(), tr.owner, date(2026, time.June, 1), Config{Pruner: pruner}); err != nil {
		t.Fatal(err)
	}
	if got := query[int64](t, tr, "SELECT size FROM audit_pruned"); !slices.Equal(got, []int64{2}) || times != 2 {
		t.Errorf("sizes %v after %d attempts", got, times)
	}
}

// TestHoldMeanwhile: a hold that is placed while its month is about to be dropped keeps it.
func TestHoldMeanwhile(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	tr.add(t, 1, date(2026, time.January, 5), 30, "ada")
	tr.maintain(t, date(2026, time.January, 6))
	pruner := changing{func() { tr.hold(t, nil, nil, nil) }}
	r, err := Maintain(t.Context(), tr.owner, date(2026, time.June, 1), Config{Pruner: pruner})
	if err != nil || len(r.Dropped) != 0 || len(r.Held) != 4 || tr.count(t, "audit_logs") != 1 {
		t.Errorf("result %+v, %v", r, err)
	}
}

// hold places a hold and returns its id.
func (tr *trail) hold(t *testing.T, subject []byte, from, to *time.Time) string {
	t.Helper()
	var id string
	err := tr.admin.QueryRow(t.Context(), `INSERT INTO audit_holds (subject_hash, from_time, to_time, reason, placed_by)
		VALUES ($1, $2, $3, 'case 7', 'carla') RETURNING id::text`, subject, from, to).Scan(&id)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestHolds(t *testing.T) {
	at := func(d time.Time) *time.Time { return &d }
	january, february := "audit_logs_30d_2026_01", "audit_logs_30d_2026_02"
	tests := map[string]struct {
		subject  []byte
		from, to *time.Time
		noHash   bool
		want     []string
	}{
		"everything":                {want: []string{january, february}},
		"a time":                    {from: at(date(2026, time.January, 10)), to: at(date(2026, time.January, 11)), want: []string{january}},
		"a time without end":        {from: at(date(2026, time.February, 10)), want: []string{february}},
		"a time without beginning":  {to: at(date(2026, time.January, 10)), want: []string{january}},
		"the end of a month":        {from: at(time.Date(2026, time.February, 1, 0, 0, 0, 0, time.UTC)), to: at(date(2027, time.January, 1)), want: []string{february}},
		"another time":              {from: at(date(2025, time.January, 1)), to: at(date(2025, time.December, 31))},
		"a subject":                 {subject: hashSubject("bob"), want: []string{february}},
		"a subject in another time": {subject: hashSubject("bob"), to: at(date(2026, time.January, 31))},
		"a subject without rows":    {subject: hashSubject("carl")},
		"unknown subjects":          {subject: hashSubject("carl"), noHash: true, want: []string{january, february}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTrail(t)
			tr.add(t, 1, date(2026, time.January, 5), 30, "ada")
			tr.add(t, 1, date(2026, time.February, 5), 30, "bob")
			tr.maintain(t, date(2026, time.February, 6))
			id := tr.hold(t, tt.subject, tt.from, tt.to)
			c := Config{Pruner: Tree{}, HashSubject: hashSubject, Ahead: 1}
			if tt.noHash {
				c.HashSubject = nil
			}
			now := date(2026, time.April, 15)
			r, err := Maintain(t.Context(), tr.owner, now, c)
			if err != nil || !slices.Equal(r.Held, tt.want) || len(r.Dropped)+len(r.Held) != 2 || tr.count(t, "audit_logs") != int64(len(tt.want)) {
				t.Errorf("result %+v, %v; want held %v", r, err, tt.want)
			}
			if _, err := tr.admin.Exec(t.Context(), "UPDATE audit_holds SET released = now() WHERE id = $1", id); err != nil {
				t.Fatal(err)
			}
			if r, err = Maintain(t.Context(), tr.owner, now, c); err != nil || len(r.Held) > 0 || len(r.Dropped) != len(tt.want) {
				t.Errorf("after the release: %+v, %v", r, err)
			}
		})
	}
}

// TestBrokenRecordsAreKept: a month with a missing record is not dropped, and others are.
func TestBrokenRecordsAreKept(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	for range 3 {
		tr.add(t, 1, date(2026, time.January, 5), 30, "ada")
	}
	tr.add(t, 2, date(2026, time.February, 5), 30, "ada")
	tr.maintain(t, date(2026, time.February, 6))
	if _, err := tr.admin.Exec(t.Context(), "DELETE FROM audit_logs WHERE writer = $1 AND seq = 2", writerID(1)); err != nil {
		t.Fatal(err)
	}
	r, err := Maintain(t.Context(), tr.owner, date(2026, time.April, 15), Config{Pruner: Tree{}})
	if !errors.Is(err, ErrBroken) || !slices.Equal(r.Dropped, []string{"audit_logs_30d_2026_02"}) {
		t.Errorf("result %+v, %v", r, err)
	}
	if n := tr.count(t, "audit_logs"); n != 2 {
		t.Errorf("%d rows are left", n)
	}
}

// TestForce: after the trail was verified, a month with broken records is dropped by name. Later months of its writer follow it.
func TestForce(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	for _, month := range []time.Month{time.January, time.January, time.January, time.February} {
		tr.add(t, 1, date(2026, month, 5), 30, "ada")
	}
	tr.maintain(t, date(2026, time.February, 6))
	if _, err := tr.admin.Exec(t.Context(), "DELETE FROM audit_logs WHERE seq = 2"); err != nil {
		t.Fatal(err)
	}
	now := date(2026, time.April, 15)
	for _, force := range [][]string{nil, {"audit_logs_30d_2026_02"}} {
		c := Config{Pruner: Tree{}, Force: force}
		if r, err := Maintain(t.Context(), tr.owner, now, c); !errors.Is(err, ErrBroken) || len(r.Dropped) > 1 || slices.Contains(r.Dropped, "audit_logs_30d_2026_01") {
			t.Errorf("force %v: %+v, %v", force, r, err)
		}
	}
	r, err := Maintain(t.Context(), tr.owner, now, Config{Pruner: Tree{}, Force: []string{"audit_logs_30d_2026_01"}})
	if err != nil || tr.count(t, "audit_logs") != 0 {
		t.Errorf("%+v, %v, %d rows are left", r, err, tr.count(t, "audit_logs"))
	}
	if notes := query[string](t, tr, "SELECT note FROM audit_pruned WHERE nodes IS NULL"); len(notes) == 0 || !strings.HasPrefix(notes[0], "forced: record 3 after 1") {
		t.Errorf("notes %q", notes)
	}
}

// TestSubjectKeys: a key is deleted when every record is younger.
func TestSubjectKeys(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	add := func(at time.Time) {
		t.Helper()
		_, err := tr.admin.Exec(t.Context(), "INSERT INTO audit_subject_keys (key_id, subject_hash, wrapped, created) VALUES (gen_random_uuid(), '\\x01', '\\x02', $1)", at)
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, month := range []time.Month{time.January, time.February} {
		at := date(2026, month, 5)
		add(at)
		tr.add(t, 1, at, 30, "ada")
	}
	if r := tr.maintain(t, date(2026, time.February, 6)); r.Keys != 0 || tr.count(t, "audit_subject_keys") != 2 {
		t.Errorf("keys of present records are deleted: %+v", r)
	}
	if r := tr.maintain(t, date(2026, time.March, 10)); r.Keys != 1 || tr.count(t, "audit_subject_keys") != 1 {
		t.Errorf("result %+v", r)
	}
}

// TestConfiguredRetentions: partitions are made before the first row, also when others have taken up the bound.
func TestConfiguredRetentions(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	_, err := tr.admin.Exec(t.Context(), `INSERT INTO audit_logs (id, writer, seq, hash, record, time, retain_days)
		SELECT gen_random_uuid(), gen_random_uuid(), 1, sha256('\x00'), '', timestamptz '2026-06-01', n FROM generate_series(1000, 1100) n`)
	if err != nil {
		t.Fatal(err)
	}
	now := date(2026, time.June, 15)
	tr.maintain(t, now)
	c := Config{Pruner: Tree{}, Retentions: []int{400}, Ahead: 1}
	r, err := Maintain(t.Context(), tr.owner, now, c)
	if want := []string{"audit_logs_400d", "audit_logs_400d_2026_06", "audit_logs_400d_2026_07"}; err != nil || !slices.Equal(r.Made, want) {
		t.Errorf("made %v, %v; want %v", r.Made, err, want)
	}
	tr.add(t, 1, now, 400, "ada")
	if tr.count(t, "audit_logs_400d_2026_06") != 1 {
		t.Error("the first row is not in its month")
	}
	if r, err := Maintain(t.Context(), tr.owner, now, c); err != nil || len(r.Made) > 0 {
		t.Errorf("a second run made %v, %v", r.Made, err)
	}
	for _, days := range []int{-1, maxRetention + 1} {
		if _, err := Maintain(t.Context(), tr.owner, now, Config{Pruner: Tree{}, Retentions: []int{days}}); err == nil {
			t.Errorf("%d days are accepted", days)
		}
	}
}

// TestChangedRetention: a writer's records are in two partitions, and the one with the later records is dropped first.
func TestChangedRetention(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	day := date(2026, time.January, 5)
	for _, days := range []int{400, 400, 30, 30, 400, 400} {
		tr.add(t, 1, day, days, "ada")
	}
	for _, days := range []int{400, 30} { // the earlier record goes last: there is nothing new to record then
		tr.add(t, 2, day, days, "bob")
	}
	tr.maintain(t, day)
	var all []Row
	rows, err := tr.admin.Query(t.Context(), "SELECT seq, prev, hash, false FROM audit_logs WHERE writer = $1 ORDER BY seq", writerID(1))
	if err != nil {
		t.Fatal(err)
	}
	if all, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Row]); err != nil {
		t.Fatal(err)
	}
	tr.maintain(t, date(2026, time.April, 15))
	tr.maintain(t, date(2027, time.April, 15))
	for _, size := range []int64{4, 6} {
		want, err := Tree{}.Prune(Cut{}, rowsOf(all[:size]))
		if err != nil {
			t.Fatal(err)
		}
		var got Cut
		err = tr.admin.QueryRow(t.Context(), "SELECT size, last_hash, nodes FROM audit_pruned WHERE writer = $1 AND size = $2", writerID(1), size).Scan(&got.Size, &got.LastHash, &got.Nodes)
		if err != nil || string(got.Nodes) != string(want.Nodes) || string(got.LastHash) != string(want.LastHash) {
			t.Errorf("the cut at %d is %+v, %v; want %+v", size, got, err, want)
		}
	}
	if tr.count(t, "audit_logs") != 0 || tr.count(t, "audit_pruned") != 3 {
		t.Errorf("%d rows, %d cuts", tr.count(t, "audit_logs"), tr.count(t, "audit_pruned"))
	}
}

// TestPartitionsOfPeople: a partition that somebody made is used, and dropped only as a whole; one without bounds never is.
func TestPartitionsOfPeople(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	tr.add(t, 1, date(2026, time.January, 5), 30, "ada")
	tr.maintain(t, date(2025, time.September, 1))
	shared.Do(t, tr.Name, `CREATE TABLE quarter PARTITION OF audit_logs_30d FOR VALUES FROM ('2026-04-01 00:00+00') TO ('2026-07-01 00:00+00')`,
		`CREATE TABLE early PARTITION OF audit_logs_30d FOR VALUES FROM (MINVALUE) TO ('2025-01-01 00:00+00')`,
		`ALTER TABLE quarter OWNER TO postern_audit_owner`)
	tr.add(t, 1, date(2026, time.April, 5), 30, "ada")
	tr.maintain(t, date(2026, time.April, 6))
	if tr.count(t, "quarter") != 1 {
		t.Error("the row is not in the quarter")
	}
	if r := tr.maintain(t, date(2026, time.July, 30)); slices.Contains(r.Dropped, "quarter") {
		t.Error("the quarter was dropped before its end")
	}
	if r := tr.maintain(t, date(2026, time.August, 1)); !slices.Contains(r.Dropped, "quarter") || slices.Contains(r.Dropped, "early") {
		t.Errorf("dropped %v", r.Dropped)
	}
}

// note returns a checkpoint without a signature: this process could not verify one.
func note(writer int, size int64, at time.Time, days int) string {
	return fmt.Sprintf("postern.dev/audit/shop/orders/%s\n%d\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\ntime %s\nretain %dd\n\n— x AAAA\n",
		writerID(writer), size, at.Format(time.RFC3339), days)
}

// TestSignedRetention: a month is dropped when the retention of the checkpoints of its records has passed as well, and the one that shows
// it is kept.
func TestSignedRetention(t *testing.T) {
	start := date(2026, time.January, 5)
	early, late := start.AddDate(0, 0, 1), start.AddDate(0, 0, 120)
	for name, tt := range map[string]struct {
		notes []string
		// want is the checkpoint that is kept; -1 if the month stays, and -2 if none is kept.
		want int
		// left are the sizes of the checkpoints that are not deleted.
		left []int64
	}{
		"none":                       {want: -2},
		"one that covers them":       {notes: []string{note(1, 3, early, 30)}, want: 0, left: []int64{3}},
		"the first that covers them": {notes: []string{note(1, 1, early, 30), note(1, 5, early, 30), note(1, 9, late, 30)}, want: 1, left: []int64{5, 9}},
		"a longer retention":         {notes: []string{note(1, 3, early, 400)}, want: -1, left: []int64{3}},
		"signed later":               {notes: []string{note(1, 5, late, 30)}, want: -1, left: []int64{5}},
		"killed before":              {notes: []string{note(1, 1, early, 30), note(1, 2, early, 30)}, want: 1, left: []int64{}},
		"killed, a longer retention": {notes: []string{note(1, 2, early, 400)}, want: -1, left: []int64{2}},
		"of another writer":          {notes: []string{note(2, 3, early, 30)}, want: -2, left: []int64{3}},
		"nonsense and a good one":    {notes: []string{"nonsense\n\n", note(1, 4, early, 30)}, want: 1, left: []int64{4, 99}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTrail(t)
			for range 3 {
				tr.add(t, 1, start, 30, "ada")
			}
			tr.maintain(t, start)
			for _, n := range tt.notes {
				size := int64(99)
				if c, err := hashchain.Peek([]byte(n)); err == nil {
					size = int64(c.Size)
				}
				if _, err := tr.admin.Exec(t.Context(), "INSERT INTO audit_checkpoints (writer, size, time, note) VALUES ($1, $2, now(), $3)", writerID(1), size, n); err != nil {
					t.Fatal(err)
				}
			}
			done := tr.maintain(t, date(2026, time.April, 15))
			kept := query[string](t, tr, "SELECT checkpoint FROM audit_pruned")
			waits := slices.Contains(done.Waiting, "audit_logs_30d_2026_01")
			switch {
			case tt.want == -1 && (!waits || len(kept) > 0 || tr.count(t, "audit_logs") != 3):
				t.Errorf("%+v; want the month to stay", done)
			case tt.want == -2 && (waits || !slices.Equal(kept, []string{""})):
				t.Errorf("%+v, kept %q; want no checkpoint", done, kept)
			case tt.want >= 0 && (waits || !slices.Equal(kept, tt.notes[tt.want:tt.want+1])):
				t.Errorf("%+v, kept %q; want %q", done, kept, tt.notes[tt.want])
			}
			if left := query[int64](t, tr, "SELECT size FROM audit_checkpoints ORDER BY size"); !slices.Equal(left, tt.left) && len(left)+len(tt.left) > 0 {
				t.Errorf("checkpoints of %v are left; want %v", left, tt.left)
			}
		})
	}
}

// TestChangedRecordsAreKept: a month with a record that does not have its hash is evidence.
func TestChangedRecordsAreKept(t *testing.T) {
	t.Parallel()
	tr := newTrail(t)
	tr.add(t, 1, date(2026, time.January, 5), 30, "ada")
	tr.maintain(t, date(2026, time.January, 6))
	if _, err := tr.admin.Exec(t.Context(), "UPDATE audit_logs SET record = record || ' '"); err != nil {
		t.Fatal(err)
	}
	if r, err := Maintain(t.Context(), tr.owner, date(2026, time.April, 15), Config{Pruner: Tree{}}); !errors.Is(err, ErrBroken) || tr.count(t, "audit_logs") != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}
