package chain

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/audit/auditsql/auditsqltest"
	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/logsink"
	"github.com/posterndev/postern/sidecar/audit/personal"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/rows"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/audit/verify"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

const auditKey = "an audit key with at least 32 bytes"

// lines is an output for concurrent use.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// mount writes a key of a Secret.
func (w *world) mount(name, key, value string) *compiled.SecretRef {
	w.t.Helper()
	dir := filepath.Join(w.secrets, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, key), []byte(value), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return &compiled.SecretRef{Name: name, Key: key}
}

// audited is a login policy with an audit trail of everything.
func (w *world) audited(change func(*compiled.Policy)) *compiled.Policy {
	return loginPolicy(func(p *compiled.Policy) {
		p.Audit = &compiled.Audit{
			Events: compiled.AuditCategories(), Sinks: []string{compiled.AuditLog}, Format: compiled.AuditFormatPostern, OnFailure: compiled.Deny, Mode: compiled.Enforce,
		}
		p.AuditOptions = &compiled.AuditOptions{Key: w.mount("audit", "key", auditKey), SpoolBytes: 1 << 20, CheckpointInterval: compiled.Duration(time.Minute)}
		if change != nil {
			change(p)
		}
	})
}

// checked verifies a trail, and returns its records as "action outcome reason subject".
type checked struct {
	t       *testing.T
	v       *verify.Verifier
	records []*record.Record
}

func checkTrail(t *testing.T) *checked {
	t.Helper()
	keys, err := personal.Derive(secret.New([]byte(auditKey)))
	if err != nil {
		t.Fatal(err)
	}
	known, err := hashchain.Verifiers(hashchain.VerifierKey(keys.Signing().Public().(ed25519.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	return &checked{t: t, v: verify.New(verify.Config{Keys: known, OnFinding: func(f verify.Finding) { t.Error(f) }})}
}

func (c *checked) item(i spool.Item) error {
	if i.Kind == spool.Checkpoint {
		c.v.Checkpoint(i.Payload)
		return nil
	}
	c.v.Record(i.Payload, hashchain.HashOf(i.Payload))
	r, err := record.Decode(i.Payload)
	c.records = append(c.records, r)
	return err
}

func (c *checked) finish(want ...string) {
	c.t.Helper()
	if s := c.v.Finish(); s.Unsigned > 0 || s.Writers != 1 {
		c.t.Errorf("%+v", s)
	}
	var got []string
	for _, r := range c.records {
		got = append(got, strings.Join(strings.Fields(fmt.Sprint(r.Action, " ", r.Outcome, " ", r.Reason, " ", r.Subject)), " "))
	}
	if !slices.Equal(got, want) {
		c.t.Errorf("recorded\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestAuditTrail: what happens at the sidecar is in the log and in a real PostgreSQL, the same in both, and verifies.
func TestAuditTrail(t *testing.T) {
	t.Parallel()
	database := postgrestest.Start(t, postgrestest.Options{})
	db := auditsqltest.New(t, database)
	user, password := database.User(t, "postern_audit_writer")
	server := redistest.Start(t, redistest.Options{})
	w := newWorld(t)
	out := &lines{}
	shared := w.sharedBy(resources.Config{AuditOutput: out, Pod: "orders-1"})
	s := w.sidecarOf(shared, w.audited(func(p *compiled.Policy) {
		onRedis(p, server.Addr)
		p.Audit.Sinks = append(p.Audit.Sinks, compiled.AuditPostgreSQL)
		p.Audit.RetainDays = 400
		p.Database = &compiled.Database{
			Via: compiled.ViaDirect, Address: database.Addr, Name: db.Name, User: w.mount("db", "user", user), Password: w.mount("db", "password", password), MaxConnections: 2,
		}
		p.Authorization.Rules = append(p.Authorization.Rules, compiled.AuthorizationRule{
			Name: "admin", Match: []compiled.Match{{Paths: []string{"/admin"}}}, Require: compiled.RequireDeny, Mode: compiled.Enforce,
		})
	})).ready()
	ada := s.login("ada")
	s.send(sent{method: "GET", path: "/admin", bearer: ada.access})
	s.send(sent{method: "GET", path: "/orders", bearer: "nonsense"})
	s.send(sent{method: "POST", path: "/auth/logout", bearer: ada.access})
	s.snapshot.Load().Close()
	shared.Close()
	want := []string{
		"policy_activated success", "login success ada", "authorization_refused refused access-denied ada", "token_refused refused malformed",
		"authorization_refused refused invalid-token", "session_ended success ada", "logout success ada",
	}
	log := checkTrail(t)
	if _, err := logsink.Read(bytes.NewReader(out.b.Bytes()), func(e logsink.Entry) error { return log.item(e.Item) }); err != nil {
		t.Fatal(err)
	}
	log.finish(want...)
	table, conn := checkTrail(t), database.Connect(t, db.Name)
	defer conn.Close(context.Background())
	if err := rows.Chained(t.Context(), conn, func(r rows.Row) error {
		if r.Altered != "" {
			t.Errorf("the column %s of record %d is not that of the record", r.Altered, r.Seq)
		}
		return table.item(r.Item)
	}); err != nil {
		t.Fatal(err)
	}
	table.finish(want...)
	for _, r := range table.records {
		if r.Policy != "shop/orders" || r.Pod != "orders-1" || r.Subject == "ada" && r.IPAddress != "127.0.0.1" {
			t.Errorf("%+v", r)
		}
	}
	if text := out.b.String(); strings.Contains(text, ada.access) || strings.Contains(text, ada.refresh) {
		t.Error("the log has a token")
	}
}

// TestAuditAcrossReloads: a new document goes on with the chain, unless the trail itself changes.
func TestAuditAcrossReloads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out := &lines{}
	shared := w.sharedBy(resources.Config{AuditOutput: out})
	s := w.sidecarOf(shared, w.audited(nil)).ready()
	s.login("ada")
	s.apply(w.audited(func(p *compiled.Policy) {
		p.Revision, p.CORS = 2, &compiled.CORS{AllowOrigins: []string{"https://b.example"}}
	}))
	s.login("bob")
	s.snapshot.Load().Close()
	shared.Close()
	log := checkTrail(t)
	if _, err := logsink.Read(bytes.NewReader(out.b.Bytes()), func(e logsink.Entry) error { return log.item(e.Item) }); err != nil {
		t.Fatal(err)
	}
	log.finish("policy_activated success", "login success ada", "policy_activated success", "login success bob")
}
