package auditsql_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/audit/auditsql"
	"github.com/posterndev/postern/sidecar/audit/auditsql/auditsqltest"
)

// BenchmarkCopy writes batches of 500 records of 700 bytes with COPY, as a writer, into the partition of a month.
func BenchmarkCopy(b *testing.B) {
	const batch = 500
	db := auditsqltest.New(b, shared)
	shared.Do(b, db.Name, "CREATE TABLE audit_logs_400d PARTITION OF audit_logs FOR VALUES IN (400) PARTITION BY RANGE (time)",
		"CREATE TABLE audit_logs_month PARTITION OF audit_logs_400d FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')")
	user, password := shared.User(b, auditsql.Writer)
	config, err := shared.Config(user, password, db.Name)
	if err != nil {
		b.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.Background())
	text := `{"text":"` + strings.Repeat("x", 700) + `"}`
	at, seq := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), int64(0)
	for b.Loop() {
		_, err := conn.CopyFrom(b.Context(), pgx.Identifier{"audit_logs"}, columns, pgx.CopyFromSlice(batch, func(i int) ([]any, error) {
			seq++
			hash := make([]byte, 32)
			_, _ = rand.Read(hash)
			r := row(seq, at.Add(time.Duration(seq)*time.Millisecond), 400)
			r[0], r[3], r[4], r[5], r[11] = fmt.Sprintf("019ac5f0-0000-7000-8000-%012x", seq), hash, hash, text, fmt.Sprintf("user-%d", seq%5000)
			return r, nil
		}))
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(seq)/b.Elapsed().Seconds(), "records/s")
}
