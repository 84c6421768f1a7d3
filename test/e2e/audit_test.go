//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
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
// and whoever changes a row is found.
func testAudit(t *testing.T) {
	s := newAuditedShop(t)
	t.Run("records", s.testRecords)
	t.Run("commands", s.testAuditCommands)
	t.Run("leastPrivilege", s.testLeastPrivilege)
	t.Run("outage", s.testDatabaseOutage)
	t.Run("lease", s.testLease)
	t.Run("podDeleted", s.testPodDeleted)
	t.Run("tampering", s.testTampering)
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
	words := []string{string(r.Category), r.Action, string(r.Outcome), "reason=" + r.Reason, "subject=" + r.Subject}
	if r.Account != "" {
		words = append(words, "account="+r.Account)
	}
	if r.PerformedBy != "" {
		words = append(words, "by="+r.PerformedBy)
	}
	if r.Rule != "" {
		words = append(words, "rule="+r.Rule)
	}
	if r.Resource != nil {
		words = append(words, "resource="+r.Resource.Kind+"/"+r.Resource.ID)
	}
	return strings.Join(words, " ")
}

// testRecords: each kind of event is a row with its fields.
func (s *auditedShop) testRecords(t *testing.T) {
	began := time.Now()
	url, agent := s.urls[0], "User-Agent: "+firefox
	ada := s.mustLogin(t, url, "ada", firefox)
	_, failed := s.login(t, url, "mallory", firefox+" mallory")
	failed.wantStatus(t, http.StatusOK) // the sample app knows one password
	do(t, http.MethodPost, url+"/login", `{"user":"eve","password":"eve-guesses-this"}`, "Content-Type: application/json", agent).wantStatus(t, http.StatusUnauthorized)
	refused := get(t, s.urls[1]+"/admin/users", bearer(ada.Access), agent).wantStatus(t, http.StatusForbidden)
	for _, want := range []int{200, 200, 429} {
		get(t, url+"/reports", bearer(ada.Access), agent).wantStatus(t, want)
	}
	created := do(t, http.MethodPost, url+"/users", `{"name":"Grace","email":"grace@example.com","role":"member","password":"pass-of-grace"}`, bearer(ada.Access), agent).wantStatus(t, http.StatusCreated)
	var user struct{ ID string }
	if err := json.Unmarshal([]byte(created.body), &user); err != nil {
		t.Fatal(err)
	}
	do(t, http.MethodPatch, url+"/users/42", `{"email":"g@example.com","role":"admin"}`, bearer(ada.Access), agent).wantStatus(t, http.StatusOK)
	s.appEvent(t)
	s.asCarol(t)

	want := []string{
		"Authentication login success reason= subject=ada",
		"Authentication login success reason= subject=mallory",
		"Authentication login_failed failed reason= subject= account=eve",
		"Authorization authorization_refused refused reason=access-denied subject=ada rule=authorization/admin",
		"RateLimit limit_hit refused reason=rate-limited subject=ada rule=rateLimits/reports",
		"Lifecycle CREATE success reason= subject=ada resource=user/" + user.ID,
		"Lifecycle UPDATE success reason= subject=ada resource=user/42",
		"Lifecycle UPDATE success reason= subject=ada by=support-7 resource=user/42",
		"Admin login_unlocked success reason= subject= account=eve by=carol",
		"Admin revocation success reason= subject=mallory by=carol",
	}
	var got []row
	eventually(t, "waiting for the rows", func() error {
		got = s.rows(t, began)
		var have []string
		for i := range got {
			have = append(have, got[i].summary())
		}
		for _, w := range want {
			if !slices.Contains(have, w) {
				return fmt.Errorf("there is no %q in\n%s", w, strings.Join(have, "\n"))
			}
		}
		return nil
	})
	measured(t, "audit: %d kinds of events, the last of %d rows seen after %s", len(want), len(got), since(began))
	for i := range got {
		s.checkRow(t, &got[i], began)
	}
	_ = refused
}

// checkRow checks the fields that every row has.
func (s *auditedShop) checkRow(t *testing.T, r *row, began time.Time) {
	t.Helper()
	t.Logf("%s %+v", r.summary(), r)
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

func (s *auditedShop) testAuditCommands(t *testing.T)  {}
func (s *auditedShop) testLeastPrivilege(t *testing.T) {}
func (s *auditedShop) testDatabaseOutage(t *testing.T) {}
func (s *auditedShop) testLease(t *testing.T)          {}
func (s *auditedShop) testPodDeleted(t *testing.T)     {}
func (s *auditedShop) testTampering(t *testing.T)      {}

var _ = v1alpha1.GroupVersion
