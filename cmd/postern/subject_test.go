package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/audit/auditsql"
	"github.com/posterndev/postern/sidecar/audit/auditsql/auditsqltest"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/test/freeport"
)

const personPolicy = `apiVersion: postern.dev/v1alpha1
kind: SidecarClass
metadata: {name: default, annotations: {postern.dev/is-default-class: "true"}}
spec:
  redis: {addresses: ["REDIS"]}
  database:
    {address: "POSTGRES", name: DATABASE, tls: {mode: Disable},
     credentials: {userRef: {secretKeyRef: {name: db, key: user}}, passwordRef: {secretKeyRef: {name: db, key: password}}}}
  audit: {keyRef: {secretKeyRef: {name: audit, key: key}}, checkpointInterval: 1s}
---
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: shop, namespace: shop}
spec:
  selector: {}
  authorization: {rules: [{name: all, match: [{paths: [/**]}], require: Anonymous}]}
  tokens:
    issuer: https://shop.example.com
    audiences: [shop]
    claims: [role]
    signingKey: {secretKeyRef: {name: signing, key: k.pem}}
    login: [{methods: [POST], paths: [/login]}]
  sessions: {maxPerSubject: 5}
  loginProtection: {routes: [{name: login, match: [{methods: [POST], paths: [/login]}], account: {json: email}, failure: {statuses: [401]}}]}
  revocation: {}
  audit: {sinks: [PostgreSQL], pseudonymise: [PSEUDONYMS], encryptPerSubject: [changes], retain: 400d}
`

// personWorld is a sidecar with Redis and PostgreSQL, as postern run serves it.
type personWorld struct {
	t        *testing.T
	server   *postgrestest.Server
	db       *auditsqltest.Database
	api, key string
	out      *output
}

func newPersonWorld(t *testing.T, pseudonyms string) *personWorld {
	t.Helper()
	for _, name := range []string{"PGHOST", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSSLMODE", "PGSERVICE"} {
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	w := &personWorld{t: t, server: postgrestest.Start(t, postgrestest.Options{})}
	w.db = auditsqltest.New(t, w.server)
	user, password := w.server.User(t, auditsql.Writer)
	redis := redistest.Start(t, redistest.Options{})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	secrets := t.TempDir()
	for name, content := range map[string]string{
		"db/user": user, "db/password": password, "audit/key": masterKey, "signing/k.pem": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(secrets, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(secrets, name), content)
	}
	w.key = filepath.Join(secrets, "audit", "key")
	loopback := freeport.Address(t)
	w.api = "http://" + loopback
	policy := strings.NewReplacer("REDIS", redis.Addr, "POSTGRES", w.server.Addr, "DATABASE", w.db.Name, "PSEUDONYMS", pseudonyms).Replace(personPolicy)
	_, w.out = runInBackground(t, policy, "--loopback", loopback, "--secrets-dir", secrets)
	w.out.await(t, `"msg":"enforcing"`)
	redistest.Eventually(t, "the loopback API", func() bool {
		response, err := http.Get(w.api + "/openapi.json")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == 200
	})
	return w
}

// call calls the loopback API.
func (w *personWorld) call(path, body string) {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodPost, w.api+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Postern-Request", "true")
	redistest.Eventually(w.t, path, func() bool { // the sidecar may still wait for Redis
		r.Body = http.NoBody
		if body != "" {
			r.Body, r.ContentLength = readCloser{strings.NewReader(body)}, int64(len(body))
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode < 300
	})
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// as sets the database user, who has a role.
func (w *personWorld) as(role string) {
	w.t.Helper()
	user, password := w.server.User(w.t, role)
	host, port, _ := strings.Cut(w.server.Addr, ":")
	for name, value := range map[string]string{"PGHOST": host, "PGPORT": port, "PGDATABASE": w.db.Name, "PGUSER": user, "PGPASSWORD": password, "PGSSLMODE": "disable"} {
		w.t.Setenv(name, value)
	}
}

// await waits until a query is true.
func (w *personWorld) await(what, query string) {
	w.t.Helper()
	conn := w.server.Connect(w.t, w.db.Name)
	redistest.Eventually(w.t, what, func() (ok bool) {
		if err := conn.QueryRow(w.t.Context(), query).Scan(&ok); err != nil {
			w.t.Fatal(err)
		}
		return ok
	})
}

// exported is the document of postern subject export.
type exported struct {
	Redis struct {
		Sessions []struct {
			Address string
			Claims  map[string]any
		}
	}
	Trail []struct {
		Action, Subject, Account string
		PerformedBy              string `json:"performed_by"`
		Changes                  map[string]struct{ After any }
	} `json:"audit_trail"`
	Missing []missingPart `json:"not_included"`
}

func (w *personWorld) export(args ...string) (e exported, text string) {
	w.t.Helper()
	text, _, err := run(w.t, "", append([]string{"subject", "export", "--server", w.api}, args...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		w.t.Fatalf("%v in %s", err, text)
	}
	return e, text
}

func (e *exported) actions() (actions []string) {
	for _, r := range e.Trail {
		actions = append(actions, r.Action)
	}
	return actions
}

// TestSubject: a person is exported from a real Redis and a real PostgreSQL, is not erased under a legal hold, is erased after that, and the trail
// still verifies. Once with names in the clear, and once with pseudonyms.
func TestSubject(t *testing.T) {
	for _, pseudonyms := range []string{"ClientAddress", "Subject"} {
		t.Run("pseudonyms "+pseudonyms, func(t *testing.T) {
			w := newPersonWorld(t, pseudonyms)
			for _, name := range []string{"ada", "grace"} {
				w.call("/v1/tokens", fmt.Sprintf(`{"subject":"%s","claims":{"role":"buyer"},"device":{"user_agent":"curl/8","address":"192.0.2.7"}}`, name))
				w.call("/v1/audit", fmt.Sprintf(`{"action":"UPDATE","resource":{"kind":"user","id":"7"},"subject":"%s","issuer":"https://shop.example.com","changes":{"city":{"after":"%s-city"}}}`, name, name))
			}
			w.call("/v1/audit", `{"action":"UPDATE","resource":{"kind":"user","id":"7"},"subject":"grace","performed_by":"ada","changes":{"city":{"after":"grace-town"}}}`)
			w.call("/v1/audit", `{"action":"UPDATE","resource":{"kind":"user","id":"7"},"subject":"ada","issuer":"https://else.example.com","changes":{"city":{"after":"namesake-city"}}}`)
			w.call("/v1/login-locks/clear", `{"account":"ADA@example.com"}`)
			w.await("the records", "SELECT count(*) = 5 FROM audit_logs WHERE action IN ('UPDATE', 'clear_login_locks')")
			who := []string{"--subject", "ada", "--account", "Ada@Example.com", "--key-file", w.key}

			w.as(auditsql.Reader)
			e, text := w.export(who...)
			if len(e.Redis.Sessions) != 1 || e.Redis.Sessions[0].Address != "192.0.2.7" || e.Redis.Sessions[0].Claims["role"] != "buyer" {
				t.Errorf("redis: %+v", e.Redis)
			}
			if got := strings.Join(e.actions(), " "); !strings.Contains(got, "issue_tokens") || !strings.Contains(got, "clear_login_locks") || strings.Count(got, "UPDATE") != 2 || !strings.Contains(text, "ada-city") {
				t.Errorf("the trail has %s", text)
			}
			for _, other := range []string{"grace", "namesake"} {
				if strings.Contains(text, other) {
					t.Errorf("the export has %s: %s", other, text)
				}
			}
			for _, part := range []string{"audit_trail: other issuers", "audit_trail: others", "redis: passwords", "redis: rate_limits"} {
				if !strings.Contains(text, part) {
					t.Errorf("the export does not say that %s is left out: %s", part, text)
				}
			}

			w.as(auditsql.Holder)
			held, _, err := run(t, "", "audit", "hold", "add", "--subject", "ada", "--key-file", w.key, "--reason", "case 7", "--as", "legal")
			id := regexp.MustCompile(`^held: (\S+)\n$`).FindStringSubmatch(held)
			if err != nil || id == nil {
				t.Fatal(held, err)
			}
			if list, _, err := run(t, "", "audit", "hold", "list"); err != nil || !strings.Contains(list, "case 7") || !strings.Contains(list, "legal, as database user ") {
				t.Errorf("%s, %v", list, err)
			}

			w.as(auditsql.Eraser)
			erase := append([]string{"subject", "erase", "--server", w.api, "--as", "dpo", "--reason", "ticket 3"}, who...)
			if _, _, err := run(t, "", append(erase, "--yes")...); err == nil || !strings.Contains(err.Error(), "case 7") {
				t.Errorf("under a hold: %v", err)
			}
			w.as(auditsql.Reader)
			if e, _ := w.export(who...); len(e.Redis.Sessions) != 1 {
				t.Error("the session was ended under a hold")
			}
			w.as(auditsql.Holder)
			if out, _, err := run(t, "", "audit", "hold", "release", "--id", id[1]); err != nil || out != "released: "+id[1]+"\n" {
				t.Error(out, err)
			}
			w.as(auditsql.Eraser)
			for _, step := range []struct {
				flag  string
				wants []string
			}{
				{"--dry-run", []string{"redis: would be erased: 1 sessions,", "audit trail: would be erased: "}},
				{"--yes", []string{"redis: erased: 1 sessions,", "audit trail: erased: ", "not reached: logs"}},
				{"--yes", []string{"redis: erased: 0 sessions,", "audit trail: erased: 0 keys"}},
			} {
				out, _, err := run(t, "", append(erase, step.flag)...)
				for _, want := range step.wants {
					if err != nil || !strings.Contains(out, want) {
						t.Errorf("%s: %v, %s; want %s", step.flag, err, out, want)
					}
				}
			}
			w.await("the record of the erasure", "SELECT count(*) = 2 FROM audit_logs WHERE action = 'erase_subject'")
			w.await("the checkpoint", "SELECT coalesce((SELECT max(seq) FROM audit_logs) = (SELECT max(size) FROM audit_checkpoints), false)")

			w.as(auditsql.Reader)
			e, text = w.export(who...)
			if len(e.Redis.Sessions) != 0 || strings.Contains(text, "ada-city") || !strings.Contains(text, "cannot be decrypted") || !strings.Contains(text, "erase_subject") {
				t.Errorf("after the erasure: %s", text)
			}
			if _, text := w.export("--subject", "grace", "--key-file", w.key); !strings.Contains(text, "grace-city") {
				t.Errorf("of another: %s", text)
			}
			if out, _, err := run(t, "", "audit", "verify", "--key-file", w.key); err != nil || !strings.Contains(out, "no fault found") {
				t.Errorf("verifying: %s, %v", out, err)
			}
			var erasures int
			conn := w.server.Connect(t, w.db.Name)
			if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM audit_erasures WHERE performed_by LIKE 'dpo, as database user %' AND reason = 'ticket 3'").Scan(&erasures); err != nil || erasures != 8 {
				t.Errorf("%d erasures of two names and two spellings of the account, twice; %v", erasures, err)
			}
			var named int
			err = conn.QueryRow(t.Context(), "SELECT count(*) FROM audit_logs WHERE action = 'erase_subject' AND (strpos(record, '\"ada\"') > 0 OR strpos(record, '\"dpo\"') > 0 OR strpos(record, 'ada@example.com') > 0)").Scan(&named)
			if want := map[string]int{"ClientAddress": 2, "Subject": 0}[pseudonyms]; err != nil || named != want {
				t.Errorf("%d records of the erasure name the person; want %d; %v", named, want, err)
			}
		})
	}
}

// TestSubjectArguments: what is incomplete is refused before anything is asked.
func TestSubjectArguments(t *testing.T) {
	for _, name := range []string{"PGHOST", "PGDATABASE", "PGSERVICE"} {
		t.Setenv(name, "")
	}
	for name, tt := range map[string]struct{ command, want string }{
		"nobody":             {"subject export", "--subject or --account is required"},
		"an issuer":          {"subject export --account ada --issuer https://id", "--issuer needs --subject"},
		"nothing":            {"subject export --subject ada --skip-sidecar --skip-database", "nothing to do"},
		"an argument":        {"subject export ada", "takes flags only"},
		"no key file":        {"subject export --subject ada --key-file /nonexistent --skip-sidecar", "reading the master key"},
		"no consent":         {"subject erase --subject ada --reason x", "--dry-run"},
		"both":               {"subject erase --subject ada --reason x --yes --dry-run", "--dry-run"},
		"no reason":          {"subject erase --subject ada --yes", "--reason is required"},
		"no database":        {"subject erase --subject ada --reason x --yes", "--skip-database"},
		"no key":             {"subject erase --subject ada --reason x --yes --database-url postgresql://u@h/d", "--key-file is required"},
		"a hold of nobody":   {"audit hold add --reason x", "--everything is required"},
		"a hold without why": {"audit hold add --everything", "--reason is required"},
		"a hold without key": {"audit hold add --subject ada --reason x", "--key-file is required"},
		"a hold of both":     {"audit hold add --subject ada --everything --reason x", "leave out the names"},
		"a hold of no time":  {"audit hold add --everything --reason x --from 2026-02-01 --to 2026-01-01", "--from is not before --to"},
		"releasing no id":    {"audit hold release", "--id is required"},
		"releasing no uuid":  {"audit hold release --id x", "is not an id"},
		"a list without key": {"audit hold list --subject ada", "--key-file is required"},
	} {
		if _, _, err := run(t, "", strings.Fields(tt.command)...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %s", name, err, tt.want)
		}
	}
}

// TestSubjectAtSidecar: what is asked of the loopback API, and what is said about its response.
func TestSubjectAtSidecar(t *testing.T) {
	for _, name := range []string{"PGHOST", "PGDATABASE", "PGSERVICE"} {
		t.Setenv(name, "")
	}
	const one, none = `{"time":"2026-11-29T08:00:00Z","own_issuer":true,"shared":true,"sessions":[{}],"revocations":[{}],"logins":{"failures":2,"locks":1},"password_resets":{"failures":1},"passwords":{"remembered":3},"omitted":[]}`, `{}`
	tests := map[string]struct {
		command, response string
		status            int
		// want is the request; wantOut are parts of the output.
		want    string
		wantOut []string
		wantErr string
	}{
		"export": {"export --subject ada", one, 200, `/v1/subjects/export {"subject":"ada"}`, []string{`"redis": {"time"`, `no --database-url and no PG variable`}, ""},
		"one pod": {"export --account Ada", `{"time":"2026-11-29T08:00:00Z","shared":false,"omitted":[{"part":"sessions","reason":"subject-not-given"}]}`, 200, `/v1/subjects/export {"account":"Ada"}`,
			[]string{`{"part":"redis: sessions","why":"not asked for: --subject names it"}`, `each pod holds its own`}, ""},
		"another API": {"export --subject ada", none, 200, `/v1/subjects/export {"subject":"ada"}`, nil, "not a sidecar's loopback API"},
		"unavailable": {"export --subject ada", `{"detail":"Try again."}`, 503, `/v1/subjects/export {"subject":"ada"}`, nil, "503 Service Unavailable: Try again"},
		"dry run": {"erase --subject ada --dry-run --skip-database", one, 200, `/v1/subjects/export {"subject":"ada"}`,
			[]string{"redis: would be erased: 1 sessions, 3 failed logins and resets, 1 locks, 3 old passwords", "kept: 1 revocations", "audit trail: left out"}, ""},
		"erase": {"erase --subject ada --issuer https://id --account a --reason r --yes --skip-database", `{"shared":false,"sessions":1,"login_failures":2,"login_locks":3,"passwords":4,"revocations_kept":5,"omitted":[{"part":"rate_limits","reason":"not-stored-by-person"}]}`, 200,
			`/v1/subjects/erase {"account":"a","issuer":"https://id","reason":"r","subject":"ada"}`,
			[]string{"redis: erased: 1 sessions, 2 failed logins and resets, 3 locks, 4 old passwords", "kept: 5 revocations", "one pod only", "left out: rate_limits: stored under hashes"}, ""},
		"erase, another API": {"erase --subject ada --reason r --yes --skip-database", none, 200, `/v1/subjects/erase {"reason":"r","subject":"ada"}`, nil, "not a sidecar's loopback API"},
		"erase, unavailable": {"erase --subject ada --reason r --yes --skip-database", `{}`, 503, `/v1/subjects/erase {"reason":"r","subject":"ada"}`, nil, "503"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, by := "", ""
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got, by = r.RequestURI+" "+string(body), r.Header.Get("Postern-Performed-By")
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.response)
			}))
			defer server.Close()
			out, _, err := run(t, "", append([]string{"subject"}, append(strings.Fields(tt.command), "--server", server.URL, "--as", "dpo")...)...)
			if (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error %v; want %q", err, tt.wantErr)
			}
			if got != tt.want || by != "dpo" {
				t.Errorf("request %s by %q; want %s", got, by, tt.want)
			}
			for _, want := range tt.wantOut {
				if !strings.Contains(out, want) {
					t.Errorf("output %s; want %s", out, want)
				}
			}
			if strings.HasPrefix(tt.command, "export") && err == nil && !json.Valid([]byte(out)) {
				t.Errorf("no JSON: %s", out)
			}
		})
	}
}
