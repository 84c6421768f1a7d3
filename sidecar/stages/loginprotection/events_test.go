package loginprotection

import (
	"net/netip"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// emitted is a sink of all events.
type emitted []event.Event

func (*emitted) Kinds() event.Kinds     { return event.Of(event.LoginAttempt, event.ResetRequest) }
func (s *emitted) Record(e event.Event) { *s = append(*s, e) }

// TestEndedAttempts: what the app said becomes at most one event.
func TestEndedAttempts(t *testing.T) {
	type want struct {
		outcome event.Outcome
		reason  string
	}
	none := want{}
	tests := map[string]struct {
		kind   Kind
		result result
		status int
		page   bool // not a login, such as its page
		want   want
	}{
		"a login":                     {Login, success, 200, false, want{event.Success, ""}},
		"a wrong password":            {Login, failure, 401, false, want{event.Refused, reasonWrongPassword}},
		"the client left":             {Login, aborted, 0, false, want{event.Refused, reasonAborted}},
		"another refusal":             {Login, neutral, 422, false, want{event.Refused, reasonAppRefused}},
		"an error of the app":         {Login, neutral, 500, false, want{event.Failed, reasonAppError}},
		"no response":                 {Login, neutral, 0, false, want{event.Failed, reasonAppError}},
		"a connection taken over":     {Login, neutral, 101, false, none},
		"the page of the login":       {Login, neutral, 200, true, none},
		"a missing page of the login": {Login, neutral, 404, true, none},
		"a reset":                     {PasswordReset, failure, 202, false, want{event.Success, ""}},
		"an invalid reset":            {PasswordReset, failure, 422, false, want{event.Refused, reasonAppRefused}},
		"a reset without an app":      {PasswordReset, neutral, 503, false, want{event.Failed, reasonAppError}},
	}
	for name, tt := range tests {
		sink := &emitted{}
		a := &attempt{
			guard: &guard{}, route: &Route{Name: "r", Kind: tt.kind}, logsIn: !tt.page, name: "ada",
			info: &request.Info{Events: event.NewStream("shop/orders", sink), ClientAddr: netip.MustParseAddr("192.0.2.1")},
		}
		a.ended(tt.result, tt.status)
		a.ended(success, 200) // nothing is emitted twice
		if tt.want == none {
			if len(*sink) != 1 || (*sink)[0].Outcome != event.Success {
				t.Errorf("%s: events %+v", name, *sink)
			}
			continue
		}
		if len(*sink) != 1 || (*sink)[0].Outcome != tt.want.outcome || (*sink)[0].Reason != tt.want.reason || (*sink)[0].Account != "ada" {
			t.Errorf("%s: events %+v; want %+v", name, *sink, tt.want)
		}
	}
}
