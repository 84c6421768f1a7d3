package appapi

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/subject"
)

// Find returns a revocation of every subject.
func (r *revocations) Find(_ context.Context, entries []revocation.Entry) ([]revocation.Entry, error) {
	found := entries[0]
	found.Before, found.Expires = time.Unix(1, 0), time.Unix(2, 0)
	return []revocation.Entry{found}, r.err
}

// Look says that every account is locked.
func (l locks) Look(context.Context, string) (logins, resets subject.Attempts, err error) {
	return subject.Attempts{Failures: 2, Latest: time.Unix(1, 0), Locks: 1, Until: time.Unix(2, 0)}, subject.Attempts{}, l.err
}

// history remembers three passwords of every account.
type history struct{ *revocations }

func (h history) Look(context.Context, string) (int, time.Time, error) {
	return 3, time.Unix(1, 0), h.err
}

func (h history) Forget(context.Context, string) (bool, error) { return true, h.err }

// persons are the tries of both operations about persons.
func persons() map[string]try {
	return map[string]try{
		"by account":        {body: object{"account": "ada"}, want: 200},
		"another issuer":    {body: object{"subject": "full", "issuer": corp}, want: 200},
		"unknown issuer":    {body: object{"subject": "full", "issuer": "https://else.example.com"}, want: 422},
		"nobody":            {body: object{}, want: 422},
		"a long name":       {body: object{"account": strings.Repeat("x", 513)}, want: 422},
		"an invisible name": {body: object{"account": "\u200b"}, want: 422},
		"an unknown member": {body: object{"subject": "full", "Subject": "x"}, want: 400},
		"a list":            {body: object{"subject": []string{"full"}}, want: 400},
		"store unavailable": {body: object{"subject": "full"}, unavailable: errUnavailable, want: 503},
		"locks unavailable": {body: object{"account": "ada"}, unavailable: errUnavailable, want: 503},
	}
}

// FuzzSubjects: any body is refused or served, and only what is served is an event, about the person that it names.
func FuzzSubjects(f *testing.F) {
	f.Add(`{"subject":"ada","account":"ada@example.com","issuer":"https://id.example.com","reason":"Art. 17"}`)
	f.Add(`{"account":"\u200b"}`)
	f.Add(`{"subject":"ada","subject":"eve"}`)
	w := newWorld(f, passwords{})
	f.Fuzz(func(t *testing.T, body string) {
		for _, operation := range []string{"export", "erase"} {
			status, _ := w.call(t, "POST", "/v1/subjects/"+operation, body)
			list := w.events.take()
			if (status == 200) != (len(list) == 1) || status != 200 && (status < 400 || status > 499) {
				t.Fatalf("%s: %d, %d events", operation, status, len(list))
			}
			if len(list) == 1 && list[0].Subject == "" && list[0].Account == "" {
				t.Fatalf("%s: %+v", operation, list[0])
			}
		}
	})
}
