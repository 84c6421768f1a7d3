package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

const schemaFile = "../../../docs/audit-record.schema.json"

func schema(t *testing.T) (*jsonschema.Schema, map[string]any) {
	t.Helper()
	content, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("record.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("record.json")
	if err != nil {
		t.Fatal(err)
	}
	return s, document.(map[string]any)
}

// TestSchema: the records of every kind of event are as the schema says, and the schema has every field of a record.
func TestSchema(t *testing.T) {
	s, document := schema(t)
	for kind := event.Kind(0); kind.String() != "unknown"; kind++ {
		changes := event.Changes{"name": {Before: []byte(`"a"`), After: []byte(`{"b":[1]}`)}, "email": {Redacted: true}}
		e := event.Event{
			Kind: kind, Outcome: event.Success, Reason: "session_ended", Time: time.Now(), Policy: "shop/orders", Account: "ada", PerformedBy: "bob",
			Actor: event.Actor{Provider: "corp", Issuer: "https://id", Subject: "ada", Session: "s", TokenID: "t"}, KeyID: "k", Stage: "authz", Rule: "admins",
			Resource: event.Resource{Kind: "user", ID: "7", Action: event.Create}, Changes: &changes, RequestID: "r", TraceID: "t", UserAgent: "<curl>",
			ClientAddr: netip.MustParseAddr("192.0.2.1"),
		}
		class, ok := (Classifier{}).Classify(&e)
		if !ok {
			continue
		}
		r := FromEvent(&e, class, "orders-1")
		r.ID, r.Writer, r.Seq, r.Prev, r.Count = uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7()), 2, Hash{1}, 3
		r.Pseudonyms, r.Encrypted = []string{"subject"}, &Encrypted{Key: r.ID, Fields: map[string][]byte{"user_agent": {1}}}
		encoded, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
		if err == nil {
			err = s.Validate(value)
		}
		if err != nil || bytes.Contains(encoded, []byte(`\u003c`)) {
			t.Errorf("%s: %s: %v", kind, encoded, err)
		}
		again, err := Decode(encoded)
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%s: decoded as %+v, %v; want %+v", kind, again, err, r)
		}
	}
	properties := document["properties"].(map[string]any)
	for field := range reflect.TypeFor[Record]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if properties[name] == nil {
			t.Errorf("the schema has no %s", name)
		}
		delete(properties, name)
	}
	if len(properties) > 0 {
		t.Errorf("the schema has fields that no record has: %v", properties)
	}
}

// TestClassify: which events are recorded, as what.
func TestClassify(t *testing.T) {
	const keyIssuer = "urn:keys"
	own, other := Classifier{KeyIssuers: []string{keyIssuer}, IssuesTokens: true}, Classifier{KeyIssuers: []string{keyIssuer}}
	of := func(k event.Kind, o event.Outcome, issuer, reason string) event.Event {
		return event.Event{Kind: k, Outcome: o, Reason: reason, Actor: event.Actor{Issuer: issuer}, Resource: event.Resource{Action: event.Delete}}
	}
	for name, tt := range map[string]struct {
		c    Classifier
		e    event.Event
		want Class
		ok   bool
	}{
		"a token":                      {own, of(event.TokenVerified, event.Success, "https://id", ""), Class{APIKey, "api_key_used", false}, false},
		"an API key":                   {own, of(event.TokenVerified, event.Success, keyIssuer, ""), Class{APIKey, "api_key_used", false}, true},
		"a refused API key":            {own, of(event.TokenRefused, event.Refused, keyIssuer, "unknown"), Class{APIKey, "api_key_refused", true}, true},
		"a refused token":              {own, of(event.TokenRefused, event.Refused, "", "expired"), Class{Authentication, "token_refused", true}, true},
		"a wrong password":             {own, of(event.LoginAttempt, event.Refused, "", ""), Class{Authentication, "login_failed", true}, true},
		"a login with own tokens":      {own, of(event.LoginAttempt, event.Success, "", ""), Class{Authentication, "login", false}, false},
		"a login without own tokens":   {other, of(event.LoginAttempt, event.Success, "", ""), Class{Authentication, "login", false}, true},
		"a refresh":                    {own, of(event.Refresh, event.Success, "", ""), Class{Session, "token_refresh", false}, true},
		"a refused refresh":            {own, of(event.Refresh, event.Refused, "", "unknown"), Class{Session, "token_refresh", true}, true},
		"a logout of a provider":       {own, of(event.BackChannelLogout, event.Success, "", ""), Class{Session, "backchannel_logout", false}, true},
		"a deleted resource":           {own, of(event.Lifecycle, event.Success, "", ""), Class{Lifecycle, "DELETE", false}, true},
		"an operator":                  {own, of(event.Admin, event.Success, "", "session_ended"), Class{Admin, "session_ended", false}, true},
		"an operator without a reason": {own, of(event.Admin, event.Success, "", ""), Class{Admin, "", false}, false},
		"a request":                    {own, of(event.Request, event.Success, "", ""), Class{}, false},
	} {
		got, ok := tt.c.Classify(&tt.e)
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: %+v, %t; want %+v, %t", name, got, ok, tt.want, tt.ok)
		}
	}
}

// TestEveryKindHasACategory: a new kind of event is recorded, or is in this list.
func TestEveryKindHasACategory(t *testing.T) {
	not := []event.Kind{event.Request, event.TokenVerified, event.RequestRefused}
	for kind := event.Kind(0); kind.String() != "unknown"; kind++ {
		if _, ok := recorded(kind); ok == slices.Contains(not, kind) {
			t.Errorf("%s is recorded: %t", kind, ok)
		}
	}
	all := Kinds(Categories())
	for kind := event.Kind(0); kind.String() != "unknown"; kind++ {
		want := !slices.Contains([]event.Kind{event.Request, event.RequestRefused}, kind)
		if all.Has(kind) != want {
			t.Errorf("the trail gets %s: %t", kind, all.Has(kind))
		}
	}
	if Kinds([]Category{Lifecycle}) != event.Of(event.Lifecycle) {
		t.Error("the category Lifecycle gets other kinds")
	}
}

// TestLargeRecords lose their changes, and are refused if they are still too large.
func TestLargeRecords(t *testing.T) {
	text, err := json.Marshal(strings.Repeat("x", MaxSize))
	if err != nil {
		t.Fatal(err)
	}
	r := &Record{Version: 1, ID: uuid.Must(uuid.NewV7()), Writer: uuid.Must(uuid.NewV7()), Seq: 1, Category: Lifecycle, Action: "CREATE", Changes: event.Changes{"name": {After: text}}}
	encoded, err := r.Encode()
	if err != nil || !bytes.Contains(encoded, []byte(`"changes":{"changes":{"redacted":true}}`)) || r.Changes["name"].After == nil {
		t.Errorf("%.200s, %v", encoded, err)
	}
	r.Subject = string(text)
	if _, err := r.Encode(); err == nil {
		t.Error("a record of more than the maximum was encoded")
	}
}

// TestNobodyIsTooLargeForARecord: a client that writes what is long in JSON has a record all the same, with who did what.
func TestNobodyIsTooLargeForARecord(t *testing.T) {
	long := strings.Repeat("\x01", event.MaxText) // six bytes in JSON, each
	value, err := json.Marshal(strings.Repeat("x", event.MaxChanges-100))
	if err != nil {
		t.Fatal(err)
	}
	e := &event.Event{
		Kind: event.Lifecycle, Outcome: event.Success, Actor: event.Actor{Provider: "corp", Issuer: long, Subject: long, Session: long, TokenID: long}, KeyID: long, Account: long,
		PerformedBy: long, Resource: event.Resource{Kind: "user", ID: long, Action: event.Delete}, Changes: &event.Changes{"name": {After: value}},
		RequestID: long, TraceID: long, UserAgent: long,
	}
	for _, encrypted := range []bool{false, true} {
		r := FromEvent(e, Class{Category: Lifecycle, Action: "DELETE"}, "orders-1")
		r.ID, r.Writer, r.Seq = uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7()), 1
		if encrypted {
			r.Changes, r.Encrypted = nil, &Encrypted{Key: r.ID, Fields: map[string][]byte{"changes": value, "user_agent": []byte(long)}}
		}
		encoded, err := r.Encode()
		if err != nil {
			t.Errorf("encrypted %t: %v", encrypted, err)
			continue
		}
		got, err := Decode(encoded)
		if err != nil || got.Subject != long || got.PerformedBy != long || got.Issuer != long || got.Resource.ID != long || got.Action != "DELETE" || !got.Changes["changes"].Redacted {
			t.Errorf("encrypted %t: %+v, %v", encrypted, got, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	const good = `{"version":1,"id":"01934567-89ab-7def-8123-456789abcdef","writer":"01934567-89ab-7def-8123-456789abcdef","seq":1,"category":"x","action":"y"}`
	if _, err := Decode([]byte(good)); err != nil {
		t.Fatal(err)
	}
	if _, err := Decode([]byte(strings.Replace(good, `"version":1`, `"version":2`, 1))); !errors.Is(err, ErrVersion) {
		t.Errorf("a later version: %v", err)
	}
	if _, err := Decode([]byte(strings.Replace(good, `"seq":1`, `"seq":1,"later":true`, 1))); err != nil {
		t.Errorf("a new field: %v", err)
	}
	for name, text := range map[string]string{
		"nothing": "", "null": "null", "two": good + good, "no number": strings.Replace(good, `"seq":1`, `"seq":0`, 1), "no id": strings.Replace(good, `"id"`, `"ID2"`, 1),
		"no hash": strings.Replace(good, `"seq":1`, `"seq":1,"prev":"AAAA"`, 1), "too long": good + strings.Repeat(" ", MaxSize), "no action": strings.Replace(good, `"action":"y"`, `"x":1`, 1),
	} {
		if _, err := Decode([]byte(text)); err == nil {
			t.Errorf("%s is decoded", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":1,"id":"01934567-89ab-7def-8123-456789abcdef","writer":"01934567-89ab-7def-8123-456789abcdef","seq":1,"category":"x","action":"y","changes":{"a":{"before":1}}}`))
	f.Fuzz(func(t *testing.T, encoded []byte) {
		r, err := Decode(encoded)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil {
			return // it grew
		}
		if _, err := Decode(again); err != nil {
			t.Errorf("%s: %v", again, err)
		}
	})
}
