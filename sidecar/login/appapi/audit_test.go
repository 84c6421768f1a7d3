package appapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// events is a sink of what the API emits.
type events struct{ list []event.Event }

func (*events) Kinds() event.Kinds { return event.Of(event.Lifecycle, event.Admin) }

func (s *events) Record(e event.Event) { s.list = append(s.list, e) }

// take returns the events since the last call, without times.
func (s *events) take() []event.Event {
	list := s.list
	s.list = nil
	return list
}

// trail is full while the revocations are unavailable.
type trail struct{ *revocations }

func (t trail) Full() bool { return t.err != nil }

func TestAudit(t *testing.T) {
	w := newWorld(t, passwords{})
	status, _ := w.call(t, "POST", "/v1/audit", `{"action":"UPDATE","resource":{"kind":"user","id":"7"},"subject":"user-7","issuer":"https://id.example.com",
		"performed_by":"admin-1","changes":{"role":{"before":"user","after":["admin"]},"email":{"redacted":true},"name":{"before":null}},
		"outcome":"refused","reason":"not.allowed","request_id":"r-1"}`)
	list := w.events.take()
	if status != 202 || len(list) != 1 {
		t.Fatalf("%d, %d events", status, len(list))
	}
	e := list[0]
	if e.Kind != event.Lifecycle || e.Outcome != event.Refused || e.Reason != "not.allowed" || e.Subject != "user-7" || e.Issuer != "https://id.example.com" ||
		e.PerformedBy != "admin-1" || e.RequestID != "r-1" || e.Resource != (event.Resource{Kind: "user", ID: "7", Action: event.Update}) || e.Time.IsZero() || e.Policy != "shop/orders" {
		t.Errorf("event %+v", e)
	}
	changes, err := json.Marshal(e.Changes)
	if want := `{"email":{"redacted":true},"name":{"before":null},"role":{"before":"user","after":["admin"]}}`; err != nil || string(changes) != want {
		t.Errorf("changes %s, %v; want %s", changes, err, want)
	}
	if status, _ := w.call(t, "POST", "/v1/audit", `{"action":"report.exported","resource":{"kind":"report"}}`); status != 202 {
		t.Errorf("an action of the app's own: %d", status)
	}
	if list := w.events.take(); len(list) != 1 || list[0].Resource.Action != "report.exported" || list[0].Outcome != event.Success || list[0].Changes != nil {
		t.Errorf("events %+v", list)
	}
}

// TestAuditIsStrict: what is out of bounds is refused as a whole, so that no event is cut or misread.
func TestAuditIsStrict(t *testing.T) {
	const head = `{"action":"CREATE","resource":{"kind":"user"}`
	long := strings.Repeat("x", event.MaxText+1)
	many := map[string]any{}
	for i := range maxFields + 1 {
		many[strings.Repeat("a", i+1)] = object{"after": 1}
	}
	tooMany, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		body string
		want int
	}{
		"an unknown member":           {head + `,"who":"me"}`, 400},
		"a member in another case":    {head + `,"Subject":"me"}`, 400},
		"a member twice":              {head + `,"subject":"me","subject":"you"}`, 400},
		"an unknown member inside":    {`{"action":"CREATE","resource":{"kind":"user","name":"x"}}`, 400},
		"an unknown part of a change": {head + `,"changes":{"a":{"during":1}}}`, 400},
		"another case in a change":    {head + `,"changes":{"a":{"After":1}}}`, 400},
		"a change that is a text":     {head + `,"changes":{"a":"x"}}`, 400},
		"a time":                      {head + `,"time":"2026-01-01T00:00:00Z"}`, 400},
		"no action":                   {`{"resource":{"kind":"user"}}`, 422},
		"an action in words":          {`{"action":"has left","resource":{"kind":"user"}}`, 422},
		"an action in capitals":       {`{"action":"READ","resource":{"kind":"user"}}`, 422},
		"an action of dots":           {`{"action":"...","resource":{"kind":"user"}}`, 422},
		"an action of the sidecar":    {`{"action":"login","resource":{"kind":"user"}}`, 422},
		"the loss of records":         {`{"action":"audit_dropped","resource":{"kind":"user"}}`, 422},
		"an act of administrators":    {`{"action":"end_session","resource":{"kind":"user"}}`, 422},
		"nearly one of the sidecar":   {`{"action":"app.login","resource":{"kind":"user"}}`, 202},
		"too long an action":          {`{"action":"` + strings.Repeat("a", maxName+1) + `","resource":{"kind":"user"}}`, 422},
		"the longest action":          {`{"action":"` + strings.Repeat("a", maxName) + `","resource":{"kind":"user"}}`, 202},
		"no resource":                 {`{"action":"CREATE"}`, 422},
		"a kind with spaces":          {`{"action":"CREATE","resource":{"kind":"a user"}}`, 422},
		"too long an id":              {`{"action":"CREATE","resource":{"kind":"user","id":"` + long + `"}}`, 422},
		"too long a subject":          {head + `,"subject":"` + long + `"}`, 422},
		"too long an issuer":          {head + `,"issuer":"` + long + `"}`, 422},
		"too long an actor":           {head + `,"performed_by":"` + long + `"}`, 422},
		"too long a request's id":     {head + `,"request_id":"` + long + `"}`, 422},
		"another outcome":             {head + `,"outcome":"shadow"}`, 422},
		"a reason in words":           {head + `,"reason":"it is so"}`, 422},
		"too many fields":             {head + `,"changes":` + string(tooMany) + `}`, 422},
		"too long a name":             {head + `,"changes":{"` + strings.Repeat("x", maxFieldName+1) + `":{"after":1}}}`, 422},
		"no name":                     {head + `,"changes":{"":{"after":1}}}`, 422},
		"too long changes":            {head + `,"changes":{"a":{"after":"` + strings.Repeat("x", event.MaxChanges) + `"}}}`, 422},
		"a redacted value":            {head + `,"changes":{"a":{"after":1,"redacted":true}}}`, 422},
	}
	w := newWorld(t, passwords{})
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			status, response := w.call(t, "POST", "/v1/audit", tt.body)
			if taken := len(w.events.take()) == 1; status != tt.want || taken != (tt.want == 202) {
				t.Errorf("%d %v, taken %t; want %d", status, response, taken, tt.want)
			}
		})
	}
}

// TestAFullTrail refuses events of the app, if the policy says so; otherwise the trail counts what it loses.
func TestAFullTrail(t *testing.T) {
	w := newWorld(t, passwords{})
	w.revocations.err = errUnavailable
	const body = `{"action":"CREATE","resource":{"kind":"user"}}`
	status, response := w.call(t, "POST", "/v1/audit", body)
	if status != 503 || response["type"] != "https://postern.dev/problems/audit-unavailable" || len(w.events.take()) > 0 {
		t.Errorf("%d %v", status, response)
	}
	w.config.TrailDenies = false
	var err error
	if w.Handler, err = New(w.config); err != nil {
		t.Fatal(err)
	}
	if status, _ := w.call(t, "POST", "/v1/audit", body); status != 202 || len(w.events.take()) != 1 {
		t.Errorf("%d with onFailure: Allow", status)
	}
}

// TestActs: what administrators do is an event with both who acts and who is concerned, also if it fails.
func TestActs(t *testing.T) {
	by := func(name string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(PerformedByHeader, name) }
	}
	tests := map[string]struct {
		method, path string
		body         any
		want         event.Event
	}{
		"tokens":        {"POST", "/v1/tokens", object{"subject": "ada"}, event.Event{Reason: "issue_tokens", Actor: event.Actor{Subject: "ada"}}},
		"a subject":     {"POST", "/v1/revocations", object{"subject": "ada", "issuer": corp}, event.Event{Reason: "revoke", Actor: event.Actor{Subject: "ada", Issuer: corp}}},
		"a token":       {"POST", "/v1/revocations", object{"token_id": "t"}, event.Event{Reason: "revoke", Actor: event.Actor{TokenID: "t"}}},
		"a key":         {"POST", "/v1/revocations", object{"key_id": "k"}, event.Event{Reason: "revoke", KeyID: "k"}},
		"its sessions":  {"DELETE", "/v1/subjects/ada/sessions", nil, event.Event{Reason: "end_sessions", Actor: event.Actor{Subject: "ada"}}},
		"one session":   {"DELETE", "/v1/sessions/{id}", nil, event.Event{Reason: "end_session"}},
		"an account":    {"POST", "/v1/login-locks/clear", object{"account": "ada"}, event.Event{Reason: "clear_login_locks", Account: "ada"}},
		"an export":     {"POST", "/v1/subjects/export", object{"subject": "ada", "account": "ADA"}, event.Event{Reason: "export_subject", Actor: event.Actor{Subject: "ada"}, Account: "ada"}},
		"an erasure":    {"POST", "/v1/subjects/erase", object{"subject": "ada", "issuer": corp}, event.Event{Reason: "erase_subject", Actor: event.Actor{Issuer: corp, Subject: "ada"}}},
		"no person":     {"POST", "/v1/subjects/erase", object{}, event.Event{}},
		"no session":    {"DELETE", "/v1/sessions/none", nil, event.Event{}},
		"nobody":        {"POST", "/v1/login-locks/clear", object{"account": ""}, event.Event{}},
		"another's key": {"POST", "/v1/revocations", object{"key_id": "k", "issuer": "https://else.example.com"}, event.Event{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, fails := range []bool{false, true} {
				w := newWorld(t, passwords{})
				session, _ := w.login(t, "ada")["session_id"].(string)
				w.events.take()
				tt.want.Kind, tt.want.PerformedBy, tt.want.Policy, tt.want.Outcome = event.Admin, "oncall@example.com", "shop/orders", event.Success
				if fails {
					w.sessions.err, w.revocations.err, tt.want.Outcome = errUnavailable, errUnavailable, event.Failed
				}
				status, response := w.call(t, tt.method, strings.Replace(tt.path, "{id}", session, 1), tt.body, by("oncall@example.com"))
				list := w.events.take()
				if tt.want.Reason == "" && (fails || len(list) == 0 && status >= 400) {
					continue
				}
				if len(list) != 1 {
					t.Fatalf("fails %t: %d %v, %d events", fails, status, response, len(list))
				}
				got := list[0]
				if got.Session != "" && (tt.want.Reason == "end_session" || tt.want.Reason == "issue_tokens") {
					got.Session = ""
				}
				if got.Time = tt.want.Time; got != tt.want {
					t.Errorf("fails %t: %+v; want %+v", fails, got, tt.want)
				}
			}
		})
	}
}

func TestPerformedBy(t *testing.T) {
	w := newWorld(t, passwords{})
	for name, tt := range map[string]struct {
		values []string
		want   int
	}{
		"nobody":          {nil, 200},
		"a user":          {[]string{"system:serviceaccount:ops:bot"}, 200},
		"a name":          {[]string{"Zoë"}, 200},
		"the longest":     {[]string{strings.Repeat("x", maxPerformedBy)}, 200},
		"too long":        {[]string{strings.Repeat("x", maxPerformedBy+1)}, 400},
		"two":             {[]string{"a", "b"}, 400},
		"a tab":           {[]string{"a\tb"}, 400},
		"not UTF-8":       {[]string{"\xe9"}, 400},
		"right to left":   {[]string{"a\u202eb"}, 400},
		"a non-character": {[]string{"a\u0085b"}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			status, _ := w.call(t, "POST", "/v1/login-locks/clear", object{"account": "ada"}, func(r *http.Request) { r.Header[PerformedByHeader] = tt.values })
			list := w.events.take()
			if status != tt.want || (len(list) == 1) != (tt.want == 200) {
				t.Errorf("%d, %d events; want %d", status, len(list), tt.want)
			}
			if len(list) == 1 && list[0].PerformedBy != strings.Join(tt.values, "") {
				t.Errorf("performed by %q", list[0].PerformedBy)
			}
		})
	}
	if !slices.Contains([]string{"Postern-Performed-By"}, http.CanonicalHeaderKey(PerformedByHeader)) {
		t.Error("the header is not in its canonical form")
	}
}

// FuzzAudit: what is taken is within its bounds.
func FuzzAudit(f *testing.F) {
	f.Add(`{"action":"CREATE","resource":{"kind":"user"},"changes":{"a":{"after":1}}}`)
	f.Add(`{"action":"a","resource":{"kind":"user","id":"\u00e9"},"outcome":"failed"}`)
	w := newWorld(f, passwords{})
	f.Fuzz(func(t *testing.T, body string) {
		status, _ := w.call(t, "POST", "/v1/audit", body)
		list := w.events.take()
		if (status == 202) != (len(list) == 1) || status != 202 && (status < 400 || status > 499) {
			t.Fatalf("%d, %d events", status, len(list))
		}
		for _, e := range list {
			changes, err := json.Marshal(e.Changes)
			if err != nil || len(changes) > event.MaxChanges || len(e.Resource.Action) > maxName || len(e.Resource.ID) > event.MaxText {
				t.Fatalf("%+v, %v", e, err)
			}
		}
	})
}
