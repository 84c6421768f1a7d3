//go:build e2e

package e2e

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/telemetry/collectortest"
)

// auditSection is the audit trail of a policy with all that it can have.
const auditSection = `
  audit:
    events: [Authentication, Session, Authorization, RateLimit, Password, APIKey, Admin, Lifecycle]
    lifecycle:
    - {resource: user, action: CREATE, match: [{methods: [POST], paths: [/users]}], id: {responseJSON: id}, changes: {requestJSON: [name, email, role], redact: [email]}}
    - {resource: user, action: UPDATE, match: [{methods: [PATCH], paths: [/users/*]}], id: {segment: 1}, changes: {requestJSON: [name, email, role]}}
    sinks: [Log, PostgreSQL]           # Log | PostgreSQL | OTLP
    pseudonymise: [ClientAddress]
    encryptPerSubject: [changes, user_agent]
    retain: 400d
    onFailure: Deny                    # or Allow
`

// audited is a policy whose sidecars log users in, refuse some requests, and record it.
var audited = strings.Replace(accounts, `
    rules:
`, `
    rules:
    - {name: admin, match: [{paths: [/admin/**]}], require: Deny}
`, 1) + `  loginProtection:
    routes:
    - {name: login, match: [{methods: [POST], paths: [/login]}], account: {json: user}, failure: {statuses: [401]}}
    perAccount: {failures: 5, within: 15m, lockFor: 1m, maxLock: 1h}
  rateLimits:
  - {name: reports, match: [{paths: [/reports]}], keyBy: [{type: Subject}], limit: 2/day}
` + auditSection

// auditedShop is a shop of two pods with an audit trail.
type auditedShop struct {
	*shop
	*auditDatabase
	collector *collectortest.Collector
}

// testAudit: what happens at the pods is in a real PostgreSQL, to which each writes as an account that Vault has made; outages lose nothing,
// and a changed row is found.
func testAudit(t *testing.T) {
	s := newAuditedShop(t)
	t.Run("records", s.testRecords)
	t.Run("commands", s.testAuditCommands)
	t.Run("leastPrivilege", s.testLeastPrivilege)
	t.Run("outage", s.testDatabaseOutage)
	t.Run("tampering", s.testTampering)
	t.Run("lease", s.testLease)
	t.Run("drops", s.testDrops)
	t.Run("podDeleted", s.testPodDeleted)
}

func newAuditedShop(t *testing.T) *auditedShop {
	t.Helper()
	began := time.Now()
	base := newSpace(t)
	s := &auditedShop{shop: &shop{space: base, vault: newVault(t)}}
	s.auditDatabase = base.newAuditDatabase(s.shop.vault)
	s.collector = collectortest.StartOn(t, hostIP(t).String(), false, nil)
	s.shop.vault.makeKey(t, base.name)
	s.shop.vault.put(t, "secret/e2e/"+base.name, map[string]any{"redis-password": base.redisPassword()})
	class := s.shop.vault.class("e2e/" + base.name)
	s.auditDatabase.class(t, class)
	class["telemetry"] = map[string]any{"otlp": map[string]any{"endpoint": s.collector.Addr(), "protocol": "grpc", "sampleRatio": 1}}
	base.class(base.name, class)
	base.apply(audited, "CLASS", base.name, "KEY", base.name)
	base.deploy("accounts", 2)
	base.rolledOut("accounts")
	base.enforced("accounts", 2)
	s.findPods()
	measured(t, "audit: PostgreSQL, Vault and two pods are ready after %s", since(began))
	return s
}

// findPods reads the addresses of the pods.
func (s *auditedShop) findPods() {
	s.shop.urls = nil
	for _, p := range s.pods("accounts") {
		s.shop.urls = append(s.shop.urls, podURL(&p, appPort))
	}
}

// row is a record, and the columns beside it.
type row struct {
	record.Record
	retain int
}

// rows returns the records of the trail that have been written since a time.
func (d *auditDatabase) rows(t *testing.T, from time.Time) []row {
	t.Helper()
	return query(t, d, func(r pgx.CollectableRow) (got row, err error) {
		var text string
		if err := r.Scan(&text, &got.retain); err != nil {
			return row{}, err
		}
		decoded, err := record.Decode([]byte(text))
		if err == nil {
			got.Record = *decoded
		}
		return got, err
	}, "SELECT record, retain_days FROM audit_logs WHERE time >= $1 ORDER BY time, seq", from)
}

// summary is what a test expects of a record.
func (r *row) summary() string {
	words := []string{string(r.Category), r.Action, string(r.Outcome)}
	for _, field := range [][2]string{{"reason", r.Reason}, {"subject", r.Subject}, {"account", r.Account}, {"by", r.PerformedBy}, {"rule", r.Rule}} {
		if field[1] != "" {
			words = append(words, field[0]+"="+field[1])
		}
	}
	if r.Resource != nil {
		words = append(words, "resource="+r.Resource.Kind+"/"+r.Resource.ID)
	}
	return strings.Join(words, " ")
}

// testRecords: each kind of event is a row with its fields.
func (s *auditedShop) testRecords(t *testing.T) {
	began := time.Now()
	url, agent, asJSON := s.urls[0], "User-Agent: "+firefox, "Content-Type: application/json"
	ada := s.mustLogin(t, url, "ada", firefox)
	s.mustLogin(t, s.urls[1], "mallory", chrome)
	do(t, http.MethodPost, url+"/login", `{"user":"eve","password":"eve-guesses-this"}`, asJSON, agent).wantStatus(t, http.StatusUnauthorized)
	refused := get(t, s.urls[1]+"/admin/users", bearer(ada.Access), agent).wantStatus(t, http.StatusForbidden)
	for _, want := range []int{200, 200, 429} {
		get(t, url+"/reports", bearer(ada.Access), agent).wantStatus(t, want)
	}
	created := do(t, http.MethodPost, url+"/users", `{"name":"Grace","email":"grace@example.com","role":"member","password":"password-of-grace"}`, bearer(ada.Access), agent, asJSON).wantStatus(t, http.StatusCreated)
	var user struct{ ID string }
	if err := json.Unmarshal([]byte(created.body), &user); err != nil {
		t.Fatal(err)
	}
	do(t, http.MethodPatch, url+"/users/42", `{"email":"g@example.com","role":"admin"}`, bearer(ada.Access), agent, asJSON).wantStatus(t, http.StatusOK)
	s.appEvent(t)
	s.asCarol(t)

	rows := s.wantRows(t, began,
		"Authentication login success subject=ada",
		"Authentication login success subject=mallory",
		"Authentication login_failed refused reason=wrong_password account=eve rule=login-protection/login",
		"Authorization authorization_refused refused reason=access-denied subject=ada rule=authz/admin",
		"RateLimit limit_hit refused reason=rate-limited subject=ada rule=ratelimit/reports",
		"Lifecycle CREATE success subject=ada resource=user/"+user.ID,
		"Lifecycle UPDATE success subject=ada resource=user/42",
		"Lifecycle UPDATE success subject=ada by=support-7 resource=user/42",
		"Admin clear_login_locks success account=eve by=carol",
		"Session revocation success reason=subject subject=mallory",
		"Session session_ended success subject=mallory",
		"Admin revoke success subject=mallory by=carol",
	)
	id := refused.header.Get("X-Request-Id")
	for i := range rows {
		s.checkRow(t, &rows[i])
		if r := &rows[i]; (r.Action == "authorization_refused") != (r.RequestID == id) || id == "" {
			t.Errorf("the refusal has the request id %q; a row has: %+v", id, r.Record)
		}
	}
	text := strings.Join(query(t, s.auditDatabase, pgx.RowTo[string], "SELECT record FROM audit_logs"), "\n")
	for what, secret := range map[string]string{
		"a token": ada.Access, "a refresh token": ada.Refresh, "a password": "password-of-grace", "a guess": "eve-guesses-this",
		"a redacted change": "grace@example.com", "a change": "Grace", "a user agent": "Firefox", "an address": hostIP(t).String(),
	} {
		if strings.Contains(text, secret) {
			t.Errorf("the table has %s in clear text: %s", what, secret)
		}
	}
}

// wantRows waits until exactly these rows have been written since a time, in any order.
func (s *auditedShop) wantRows(t *testing.T, from time.Time, want ...string) (got []row) {
	t.Helper()
	slices.Sort(want)
	eventually(t, "waiting for the rows", func() error {
		got = s.rows(t, from)
		var have []string
		for i := range got {
			have = append(have, got[i].summary())
		}
		if slices.Sort(have); !slices.Equal(have, want) {
			return fmt.Errorf("there are\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
		return nil
	})
	measured(t, "audit: %d events are in PostgreSQL %s after the first", len(got), since(from))
	return got
}

var traceID = regexp.MustCompile("^[0-9a-f]{32}$")

// checkRow checks the fields that a row has whatever its event is.
func (s *auditedShop) checkRow(t *testing.T, r *row) {
	t.Helper()
	if r.ID.Version() != 7 || r.Policy != s.shop.name+"/accounts" || !strings.HasPrefix(r.Pod, "accounts-") || r.retain != 400 {
		t.Errorf("id, policy, pod or retention of %+v, %d days", r.Record, r.retain)
	}
	if r.UserAgent != "" || len(r.Changes) > 0 {
		t.Errorf("user agent and changes are not encrypted: %+v", r.Record)
	}
	if r.Category == record.Admin || r.PerformedBy != "" || r.Category == record.Session {
		return // by way of the loopback API: not the request of a client
	}
	if !strings.HasPrefix(r.IPAddress, "pseudonym:") || !slices.Equal(r.Pseudonyms, []string{"ip_address"}) || r.RequestID == "" || !traceID.MatchString(r.TraceID) {
		t.Errorf("address, request or trace of %+v", r.Record)
	}
	if r.Encrypted == nil || len(r.Encrypted.Fields["user_agent"]) == 0 || (r.Category == record.Lifecycle) != (len(r.Encrypted.Fields["changes"]) > 0) {
		t.Errorf("the encrypted fields of %+v", r.Record)
	}
	eventually(t, "waiting for the trace of the row at the collector", func() error {
		for _, span := range s.collector.Spans() {
			if hex.EncodeToString(span.TraceId) == r.TraceID {
				return nil
			}
		}
		return fmt.Errorf("no span has the trace %s of %s", r.TraceID, r.summary())
	})
}

// appEvent is an event that the app reports with POST /v1/audit.
func (s *auditedShop) appEvent(t *testing.T) {
	t.Helper()
	p := s.pods("accounts")[0]
	out, err := s.ask(&p, "-X", "POST", "-H", "Content-Type: application/json", "-H", "Postern-Request: true", "-d",
		`{"action":"UPDATE","resource":{"kind":"user","id":"42"},"subject":"ada","performed_by":"support-7","changes":{"role":{"before":"member","after":"admin"}}}`,
		"http://127.0.0.1:15992/v1/audit")
	if err != nil || !strings.Contains(out, "202") {
		t.Errorf("reporting an event of the app: %v: %s", err, out)
	}
}

// asCarol does as an operator what the trail must attribute to her: in the cluster, where she is impersonated, and at a pod.
func (s *auditedShop) asCarol(t *testing.T) {
	t.Helper()
	s.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.shop.name, Name: "carol"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "carol"}},
	})
	out, err := exec.Command(postern(t), "unlock", "--account", "eve", "--namespace", s.shop.name, "--as", "carol").CombinedOutput()
	if err != nil || string(out) != "cleared, in all pods of the policy\n" {
		t.Errorf("postern unlock: %v: %s", err, out)
	}
	server := s.forward(t, s.pods("accounts")[1].Name, 15992)
	out, err = exec.Command(postern(t), "revoke", "--subject", "mallory", "--server", server, "--as", "carol").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "revoked: ") {
		t.Errorf("postern revoke: %v: %s", err, out)
	}
}

// forward forwards a local port to a pod, as people do, until the test ends.
func (s *space) forward(t *testing.T, pod string, port int) (url string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := exec.CommandContext(ctx, "kubectl", "port-forward", "-n", s.name, "pod/"+pod, fmt.Sprintf(":%d", port))
	out := &shared{}
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = c.Wait() })
	eventually(t, "waiting for the forwarded port", func() error {
		_, rest, ok := strings.Cut(out.String(), "Forwarding from ")
		if !ok {
			return fmt.Errorf("it says %q", out.String())
		}
		address, _, _ := strings.Cut(rest, " ")
		url = "http://" + address
		return nil
	})
	return url
}

// shared is a buffer for a process that still writes.
type shared struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *shared) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *shared) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
