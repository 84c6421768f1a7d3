package chain

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

const person = `{"subject":"ada-sub","account":" ADA@example.com "}`

// adminEvents are the events of administrators.
type adminEvents struct{ events }

func (*adminEvents) Kinds() event.Kinds { return event.Of(event.Admin) }

// people starts an app with replicas whose stores hold data of two persons, in Redis if addr is set.
func people(t *testing.T, addr string, replicas int) *accounts {
	t.Helper()
	a, w := &accounts{t: t}, newWorld(t)
	w.app.Close()
	w.app = httptest.NewServer(a)
	t.Cleanup(w.app.Close)
	for range replicas {
		a.replicas = append(a.replicas, w.sidecar(historyPolicy(addr, nil)).ready())
	}
	for _, name := range []string{"ada", "grace"} {
		for range 2 {
			g := a.replicas[0].loopback("POST", "/v1/tokens", fmt.Sprintf(`{"subject":"%s-sub","claims":{"roles":["%[1]s-role"]},"device":{"user_agent":"curl/%[1]s","address":"192.0.2.7"}}`, name))
			if g.status != 200 {
				t.Fatal(g.status, g.text)
			}
		}
		a.send("/register", "", name+"@example.com", "tidal lantern "+name)
		for range 2 {
			a.send("/login?status=401", "", name+"@example.com", "guess")
		}
		a.replicas[0].send(sent{method: "POST", path: "/password/reset", body: "email=" + name + "@example.com", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}})
		if g := a.replicas[0].loopback("POST", "/v1/revocations", fmt.Sprintf(`{"subject":"%s-sub","issued_before":"2020-01-01T00:00:00Z"}`, name)); g.status != 200 {
			t.Fatal(g.status, g.text)
		}
	}
	return a
}

// held is what an export says, in short: sessions, revocations, failed logins, requests for a new password, and old passwords.
func held(t *testing.T, s *sidecar, body string) (summary, text string) {
	t.Helper()
	g := s.loopback("POST", "/v1/subjects/export", body)
	if g.status != 200 {
		t.Fatalf("exporting: %d %s", g.status, g.text)
	}
	var e struct {
		Sessions, Revocations []any
		Logins                struct{ Failures, Locks int }
		Resets                struct{ Failures int } `json:"password_resets"`
		Passwords             struct{ Remembered int }
	}
	if err := json.Unmarshal([]byte(g.text), &e); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(len(e.Sessions), len(e.Revocations), e.Logins.Failures, e.Resets.Failures, e.Passwords.Remembered), g.text
}

// TestPersons: what the stores hold of a person is exported and erased, in Redis at any replica, and in memory; that of others stays.
func TestPersons(t *testing.T) {
	t.Parallel()
	for name, redis := range map[string]bool{"Redis": true, "memory": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, replicas := "", 1
			if redis {
				addr, replicas = redistest.Start(t, redistest.Options{}).Addr, 2
			}
			a := people(t, addr, replicas)
			last := a.replicas[replicas-1]
			summary, text := held(t, last, person)
			if summary != "2 1 2 1 1" {
				t.Errorf("held: %s", text)
			}
			for _, part := range []string{`"shared":` + fmt.Sprint(redis), `"issuer":"` + ownIssuer, "curl/ada", "192.0.2.7", `"claims":{"roles":["ada-role"]}`, `"issued_before":"2019-12-31T23:59:55Z"`, // clocks may differ by five seconds
				`"account":"ada@example.com"`, `"changed":"20`, `"latest":"20`, `{"part":"rate_limits","reason":"not-stored-by-person"}`} {
				if !strings.Contains(text, part) {
					t.Errorf("the export has no %s: %s", part, text)
				}
			}
			for _, part := range []string{"grace", "argon2", "proof", "refresh", "tidal"} {
				if strings.Contains(text, part) {
					t.Errorf("the export has %s: %s", part, text)
				}
			}
			for _, want := range []string{`"sessions":2,"login_failures":3,"login_locks":0,"passwords":1,"revocations_kept":1`, `"sessions":0,"login_failures":0,"login_locks":0,"passwords":0,"revocations_kept":1`} {
				g := a.replicas[0].loopback("POST", "/v1/subjects/erase", strings.TrimSuffix(person, "}")+`,"reason":"Art. 17"}`)
				if g.status != 200 || !strings.Contains(g.text, want) {
					t.Errorf("erasing: %d %s; want %s", g.status, g.text, want)
				}
			}
			if summary, text := held(t, last, person); summary != "0 1 0 0 0" {
				t.Errorf("held after the erasure: %s", text)
			}
			if summary, text := held(t, last, strings.NewReplacer("ada", "grace", "ADA", "grace").Replace(person)); summary != "2 1 2 1 1" {
				t.Errorf("held of another: %s", text)
			}
			if redis {
				nothingOf(t, addr)
			}
		})
	}
}

// nothingOf fails if Redis holds a text of ada, apart from the revocation.
func nothingOf(t *testing.T, addr string) {
	t.Helper()
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	defer func() { _ = client.Close() }()
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, key := range keys {
		if strings.HasPrefix(key, "postern:revocation:") {
			continue
		}
		value, err := client.Dump(t.Context(), key).Result() // texts of this length are not compressed
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(key+value, "ada") {
			t.Errorf("%s: %q", key, value)
		}
		if strings.Contains(value, "grace") {
			seen++
		}
	}
	if seen == 0 {
		t.Error("the dumps do not show names")
	}
}

// TestPersonsPartly: what is not named, and what the policy does not have, is said to be left out; a person must be named, and an issuer known.
func TestPersonsPartly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	policy := historyPolicy("", nil)
	s := w.sidecar(policy)
	only := loginProtectionPolicy("", nil)
	only.Tokens, only.Sessions, only.Revocation = nil, nil, nil
	protected := newWorld(t).sidecar(only)
	for name, tt := range map[string]struct {
		at   *sidecar
		body string
		want int
		text string
	}{
		"a subject":       {s, `{"subject":"ada"}`, 200, `"omitted":[{"part":"logins","reason":"account-not-given"},{"part":"passwords","reason":"account-not-given"},{"part":"rate_limits"`},
		"an account":      {s, `{"account":"ada"}`, 200, `"omitted":[{"part":"sessions","reason":"subject-not-given"},{"part":"revocations","reason":"subject-not-given"},{"part":"rate_limits"`},
		"nobody":          {s, `{}`, 422, "Name a person"},
		"an issuer":       {s, `{"issuer":"https://id","account":"ada"}`, 422, "issuer requires subject"},
		"another issuer":  {s, `{"subject":"ada","issuer":"https://else.example.com"}`, 422, "unknown-issuer"},
		"an empty name":   {s, `{"account":" \u200b"}`, 422, "The account is empty"},
		"too long":        {s, `{"subject":"` + strings.Repeat("x", 513) + `"}`, 422, "512 bytes"},
		"the own issuer":  {s, `{"subject":"ada","issuer":"` + ownIssuer + `"}`, 200, `"issuer":"` + ownIssuer + `"`},
		"logins only":     {protected, `{"account":"ada"}`, 200, `{"part":"sessions","reason":"not-enabled"},{"part":"revocations","reason":"not-enabled"},{"part":"passwords","reason":"not-enabled"}`},
		"no such subject": {protected, `{"subject":"ada"}`, 200, `{"part":"logins","reason":"account-not-given"}`},
	} {
		for _, operation := range []string{"export", "erase"} {
			if g := tt.at.loopback("POST", "/v1/subjects/"+operation, tt.body); g.status != tt.want || !strings.Contains(g.text, tt.text) {
				t.Errorf("%s, %s: %d %s; want %d %s", operation, name, g.status, g.text, tt.want, tt.text)
			}
		}
	}
}

// TestPersonsWithoutRedis: while Redis is away nothing is said to be erased or not held, and the attempts are events.
func TestPersonsWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	a := people(t, server.Addr, 1)
	s, sink := a.replicas[0], &adminEvents{}
	s.cfg.Sinks = []event.Sink{sink}
	s.apply(historyPolicy(server.Addr, nil))
	s.loopback("POST", "/v1/subjects/export", person)
	s.loopback("POST", "/v1/subjects/erase", person)
	server.Stop()
	for _, operation := range []string{"export", "erase"} {
		if g := s.loopback("POST", "/v1/subjects/"+operation, person); g.status != 503 || g.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", operation, g.status, g.text)
		}
	}
	list, names := sink.take()
	if got, want := strings.Join(names, ", "), "admin success export_subject, admin success erase_subject, admin failed export_subject, admin failed erase_subject"; got != want {
		t.Errorf("events %s; want %s", got, want)
	}
	for _, e := range list {
		if e.Subject != "ada-sub" || e.Account == "" {
			t.Errorf("%+v", e)
		}
	}
}

// TestErasureIsRecorded: the trail says who erased whose data and why, by the pseudonym if the policy wants that, and does not name the person.
func TestErasureIsRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out := &lines{}
	shared := w.sharedBy(resources.Config{AuditOutput: out})
	s := w.sidecarOf(shared, w.audited(func(p *compiled.Policy) { p.Audit.Pseudonymise = []string{"Subject"} })).ready()
	s.login("ada-sub")
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/v1/subjects/erase", strings.NewReader(`{"subject":"ada-sub","reason":"Art. 17, ticket 7"}`))
	for name, value := range map[string]string{"Content-Type": "application/json", "Postern-Request": "true", "Postern-Performed-By": "dpo"} {
		r.Header.Set(name, value)
	}
	answer := httptest.NewRecorder()
	s.snapshot.Load().AppAPI().ServeHTTP(answer, r)
	if answer.Code != 200 {
		t.Fatal(answer.Body)
	}
	s.snapshot.Load().Close()
	shared.Close()
	if text := out.b.String(); strings.Contains(text, "ada-sub") || strings.Contains(text, `"dpo"`) {
		t.Errorf("the trail names somebody: %s", text)
	}
	subjects := map[string]string{}
	for line := range strings.Lines(out.b.String()) {
		var of struct{ Audit json.RawMessage }
		if json.Unmarshal([]byte(line), &of) != nil || of.Audit == nil {
			continue
		}
		r, err := record.Decode(of.Audit)
		if err != nil {
			t.Fatal(err)
		}
		if r.Action == "erase_subject" && (r.Category != record.Admin || r.PerformedBy == "" || string(r.Changes["reason"].After) != `"Art. 17, ticket 7"`) {
			t.Errorf("%s", line)
		}
		subjects[r.Action] = r.Subject
	}
	if subjects["erase_subject"] == "" || subjects["erase_subject"] != subjects["login"] {
		t.Errorf("subjects %v", subjects)
	}
}
