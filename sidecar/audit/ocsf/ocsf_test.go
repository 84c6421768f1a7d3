package ocsf

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// TestEvents: each record has a class and an activity of the framework, and is itself in raw_data.
func TestEvents(t *testing.T) {
	for name, tt := range map[string]struct {
		r              record.Record
		class, typeUID int
		status         int
	}{
		"login":           {record.Record{Category: record.Authentication, Action: "login", Outcome: event.Success}, 3002, 300201, 1},
		"failed login":    {record.Record{Category: record.Authentication, Action: "login_failed", Outcome: event.Refused}, 3002, 300201, 2},
		"lock":            {record.Record{Category: record.Authentication, Action: "login_locked", Outcome: event.Refused}, 3001, 300109, 2},
		"logout":          {record.Record{Category: record.Session, Action: "logout", Outcome: event.Success}, 3002, 300202, 1},
		"refusal":         {record.Record{Category: record.Authorization, Action: "authorization_refused", Outcome: event.Refused, Rule: "authz/admins"}, 6003, 600399, 2},
		"new user":        {record.Record{Category: record.Lifecycle, Action: "CREATE", Outcome: event.Success, Resource: &record.Resource{Kind: "user", ID: "7"}}, 3004, 300401, 1},
		"reset":           {record.Record{Category: record.Password, Action: "password_reset_requested", Outcome: event.Success}, 3001, 300104, 1},
		"policy activity": {record.Record{Category: record.Admin, Action: "policy_activated", Outcome: event.Success}, 3004, 300499, 1},
	} {
		tt.r.Version, tt.r.ID, tt.r.Time, tt.r.Policy, tt.r.Subject, tt.r.PerformedBy, tt.r.IPAddress = 1, uuid.Must(uuid.NewV7()), record.At(time.Unix(7, 0)), "shop/orders", "ada", "bob", "192.0.2.1"
		encoded, _, err := hashchain.New(uuid.Must(uuid.NewV7())).Append(&tt.r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := Encode(encoded)
		if err != nil {
			t.Fatal(err)
		}
		var e Event
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		if e.ClassUID != tt.class || e.TypeUID != tt.typeUID || e.StatusID != tt.status || e.CategoryUID != tt.class/1000 || e.RawData != string(encoded) || e.Time != 7000 {
			t.Errorf("%s: %s", name, text)
		}
		if e.User.UID != "ada" || e.Actor.User.UID != "bob" || e.SrcEndpoint.IP != "192.0.2.1" || (e.Entity == nil) == (tt.class == 3004) {
			t.Errorf("%s: %s", name, text)
		}
	}
	if _, err := Encode([]byte("{}")); err == nil {
		t.Error("what is no record was encoded")
	}
}
