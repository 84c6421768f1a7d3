package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// sharedBuffer is written by a command and read by a test.
type sharedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sharedBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *sharedBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// logins is a trail of logins by user1, user2 and so on, a second after each other.
type logins struct {
	conn  *pgx.Conn
	chain *hashchain.Chain
}

func (l *logins) Do(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	return f(ctx, l.conn)
}

func (l *logins) write(t *testing.T, last time.Time, n int) {
	t.Helper()
	var items []spool.Item
	for i := range n {
		encoded, _, err := l.chain.Append(&record.Record{
			Version: 1, ID: uuid.Must(uuid.NewV7()), Time: record.At(last.Add(time.Duration(i+1-n) * time.Second)), Category: record.Authentication, Action: "login",
			Outcome: event.Success, Subject: fmt.Sprint("user", l.chain.Size()+1), Policy: "shop/orders",
		})
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, spool.Item{Kind: spool.Record, Payload: encoded})
	}
	sink := rows.New(rows.Config{Database: l, RetainDays: 30, OnRefused: func(_ spool.Item, err error) { t.Error(err) }})
	if _, err := sink.Deliver(t.Context(), items); err != nil {
		t.Fatal(err)
	}
}

// TestAuditOfDatabase: the commands on a database before and after its migration, by the right and by wrong users. tail prints the latest ten
// records and then new ones, and none twice or late.
func TestAuditOfDatabase(t *testing.T) {
	server, address, password := auditServer(t)
	t.Setenv("PGPASSWORD", password)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	fails := func(want string, args ...string) {
		t.Helper()
		if _, _, err := run(t, "", append([]string{"audit"}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", args, err, want)
		}
	}
	for _, command := range []string{"search", "verify", "maintain"} {
		fails("run postern audit migrate first", command, "--database-url", address)
	}
	fails("PGSSLROOTCERT", "migrate", "--database-url", strings.Split(address, "?")[0])
	if _, _, err := run(t, "", "audit", "migrate", "--database-url", address); err != nil {
		t.Fatal(err)
	}
	owner := *u
	name, other := server.User(t, "postern_audit_writer")
	t.Setenv("PGPASSWORD", other)
	u.User = url.User(name)
	for _, command := range []string{"search", "migrate", "maintain"} {
		fails("must be a member of postern_audit_reader", command, "--database-url", u.String())
	}
	t.Setenv("PGPASSWORD", password)

	l := &logins{server.Connect(t, strings.TrimPrefix(owner.Path, "/")), hashchain.New(uuid.Must(uuid.NewV7()))}
	if out, stderr, err := run(t, "", "audit", "search", "--action", "logni", "--database-url", address); err != nil || out != "" || !strings.Contains(stderr, "no record matches") {
		t.Errorf("%q, %q, %v", out, stderr, err)
	}
	l.write(t, time.Now(), 12)
	var out sharedBuffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := newAuditTailCommand()
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--database-url", address, "--interval", "50ms"})
	done := make(chan error)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	waitFor := func(user string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !strings.Contains(out.String(), "subject="+user+"\n"); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("no %s in %q", user, out.String())
			}
		}
	}
	waitFor("user12")
	l.write(t, time.Now().Add(-20*time.Second), 1) // a spool was sent late
	waitFor("user13")
	l.write(t, time.Now(), 1)
	waitFor("user14")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	var users []string
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		users = append(users, line[strings.Index(line, "subject=user")+len("subject=user"):])
	}
	if got := strings.Join(users, " "); got != "3 4 5 6 7 8 9 10 11 12 13 14" {
		t.Errorf("tail prints the users %s", got)
	}
}
