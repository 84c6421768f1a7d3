package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

func TestScrub(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, want string }{
		"service token": {"token hvs.CAESIabcdefghijk is bad", "token [redacted] is bad"},
		"quoted":        {`"hvb.AAAAAQabcdefghi"`, `"[redacted]"`},
		"old token":     {"s.abcdefghijklmnopqrstuvwx", "[redacted]"},
		"JWT":           {"jwt=eyJhbGciOiJ.eyJpc3M.sig-1", "jwt=[redacted]"},
		"userinfo":      {`Get "https://u:p@host/v1": x, //a@b`, `Get "https://[redacted]@host/v1": x, //[redacted]@b`},
		"known":         {"the id my-id", "the id [redacted]"},
		"control":       {"a\nb\x1b[31m", "a b [31m"},
		"plain":         {"service account name not authorized", "service account name not authorized"},
		"words":         {"s.x b.y eyJ é", "s.x b.y eyJ é"},
		"long":          {strings.Repeat("é", 200), strings.Repeat("é", 100) + " …"},
		"empty":         {"", ""},
	}
	for name, tt := range tests {
		if got := scrub(tt.text, []string{"", "my-id"}); got != tt.want {
			t.Errorf("%s: %q; want %q", name, got, tt.want)
		}
	}
}

func TestRefCheck(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		ref  Ref
		want bool
	}{
		"good":          {Ref{Path: "secret/shop/redis", Key: "password"}, true},
		"no secret":     {Ref{Path: "secret", Key: "k"}, false},
		"no key":        {Ref{Path: "secret/x"}, false},
		"leading slash": {Ref{Path: "/secret/x", Key: "k"}, false},
		"dot segments":  {Ref{Path: "secret/../sys/raw", Key: "k"}, false},
		"query":         {Ref{Path: "secret/x?version=1", Key: "k"}, false},
		"escape":        {Ref{Path: "secret/%2e%2e/x", Key: "k"}, false},
		"too long":      {Ref{Path: "secret/" + strings.Repeat("x", maxPath), Key: "k"}, false},
		"version":       {Ref{Path: "secret/x", Key: "k", Version: -1}, false},
	}
	for name, tt := range tests {
		if err := tt.ref.check(); (err == nil) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ path, mount, want string }{
		"as the command line":    {"secret/a/b", "secret/", "secret/data/a/b"},
		"as a policy":            {"secret/data/a/b", "secret/", "secret/data/a/b"},
		"a secret called data":   {"secret/data/data/b", "secret/", "secret/data/data/b"},
		"a mount of parts":       {"team/kv/a", "team/kv/", "team/kv/data/a"},
		"another mount":          {"secret/a", "kv/", ""},
		"a mount that is longer": {"secret/a", "secret/a/", ""},
		"no mount":               {"secret/a", "", ""},
	}
	for name, tt := range tests {
		place, err := locate(tt.path, tt.mount)
		if (err == nil) != (tt.want != "") || err == nil && place.data() != tt.want {
			t.Errorf("%s: %+v, %v; want %q", name, place, err, tt.want)
		}
	}
}

func decode(t testing.TB, text []byte) *api.Secret {
	t.Helper()
	s, err := api.ParseSecret(bytes.NewReader(text))
	if err != nil {
		t.Skip(err)
	}
	return s
}

func TestParseContent(t *testing.T) {
	t.Parallel()
	const meta = `"version":2,"created_time":"2026-01-02T03:04:05.6Z"`
	tests := map[string]struct {
		text     string
		wantErr  string
		wantEnds string
	}{
		"plain":                 {`{"data":{"data":{"k":"v"},"metadata":{` + meta + `,"deletion_time":"","custom_metadata":null}}}`, "", ""},
		"deleted later":         {`{"data":{"data":{},"metadata":{` + meta + `,"deletion_time":"2026-02-01T00:00:00Z"}}}`, "", "2026-02-01"},
		"stated expiry first":   {`{"data":{"data":{},"metadata":{` + meta + `,"deletion_time":"2026-02-01T00:00:00Z","custom_metadata":{"postern-expires":"2026-01-05T00:00:00Z"}}}}`, "", "2026-01-05"},
		"stated expiry later":   {`{"data":{"data":{},"metadata":{` + meta + `,"deletion_time":"2026-02-01T00:00:00Z","custom_metadata":{"postern-expires":"2026-03-05T00:00:00Z"}}}}`, "", "2026-02-01"},
		"stated expiry alone":   {`{"data":{"data":{},"metadata":{` + meta + `,"custom_metadata":{"postern-expires":"2026-03-05T00:00:00Z"}}}}`, "", "2026-03-05"},
		"unreadable expiry":     {`{"data":{"data":{},"metadata":{` + meta + `,"custom_metadata":{"postern-expires":"soon"}}}}`, "custom metadata", ""},
		"unreadable deletion":   {`{"data":{"data":{},"metadata":{` + meta + `,"deletion_time":7}}}`, "deletion", ""},
		"deleted":               {`{"data":{"data":null,"metadata":{` + meta + `}}}`, "deleted", ""},
		"destroyed":             {`{"data":{"data":{"k":"v"},"metadata":{` + meta + `,"destroyed":true}}}`, "deleted", ""},
		"version 1":             {`{"data":{"k":"v"}}`, "not KV version 2", ""},
		"no version":            {`{"data":{"data":{},"metadata":{}}}`, "no version", ""},
		"no time":               {`{"data":{"data":{},"metadata":{"version":1,"created_time":true}}}`, "time", ""},
		"version out of bounds": {`{"data":{"data":{},"metadata":{"version":99999999999999999999}}}`, "no version", ""},
	}
	for name, tt := range tests {
		c, err := parseContent(decode(t, []byte(tt.text)), time.Now())
		if tt.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%s: error = %v; want %q", name, err, tt.wantErr)
			}
			continue
		}
		if err != nil || c.version != 2 || tt.wantEnds == "" != c.ends.IsZero() || tt.wantEnds != "" && c.ends.Format(time.DateOnly) != tt.wantEnds {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if _, err := parseContent(nil, time.Now()); !errors.Is(err, errNotFound) {
		t.Errorf("no answer: %v", err)
	}
}

func TestParsePublicVersions(t *testing.T) {
	t.Parallel()
	const good = `{"public_key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","creation_time":"2026-01-02T03:04:05Z"}`
	tests := map[string]struct {
		text    string
		want    int
		wantErr string
	}{
		"good":            {`{"min_encryption_version":0,"keys":{"10":` + good + `,"9":` + good + `}}`, 2, ""},
		"least":           {`{"min_encryption_version":10,"keys":{"10":` + good + `,"9":1}}`, 1, ""},
		"none":            {`{"min_encryption_version":0,"keys":{}}`, 0, ""},
		"no least":        {`{"keys":{}}`, 0, "min_encryption_version"},
		"no keys":         {`{"min_encryption_version":0}`, 0, "no versions"},
		"no number":       {`{"min_encryption_version":0,"keys":{"x":` + good + `}}`, 0, "not a number"},
		"leading zero":    {`{"min_encryption_version":0,"keys":{"01":` + good + `}}`, 0, "no public key"},
		"symmetric":       {`{"min_encryption_version":0,"keys":{"1":1700000000}}`, 0, "no public key"},
		"derived":         {`{"min_encryption_version":0,"keys":{"1":{"public_key":"","creation_time":"2026-01-02T03:04:05Z"}}}`, 0, "derived"},
		"no time":         {`{"min_encryption_version":0,"keys":{"1":{"public_key":"x"}}}`, 0, "creation time"},
		"unreadable PEM":  {`{"min_encryption_version":0,"keys":{"1":{"public_key":"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----","creation_time":"2026-01-02T03:04:05Z"}}}`, 0, "asn1"},
		"unreadable PKCS": {`{"min_encryption_version":0,"keys":{"1":{"public_key":"-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----","creation_time":"2026-01-02T03:04:05Z"}}}`, 0, "asn1"},
	}
	for name, tt := range tests {
		var data map[string]any
		d := json.NewDecoder(strings.NewReader(tt.text))
		d.UseNumber()
		if err := d.Decode(&data); err != nil {
			t.Fatal(err)
		}
		versions, err := parsePublicVersions(data)
		if len(versions) != tt.want || (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s: %+v, %v; want %d, %q", name, versions, err, tt.want, tt.wantErr)
		}
		if len(versions) == 2 && versions[0].Number != 9 {
			t.Errorf("%s: the older is not first", name)
		}
	}
}

func TestLeaseIsRenewedInTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	tests := map[string]struct {
		lease    lease
		min, max time.Duration
	}{
		"an hour":        {lease{at: now, grant: grant{ttl: time.Hour}}, 36 * time.Minute, 44 * time.Minute},
		"half an hour":   {lease{at: now.Add(-30 * time.Minute), grant: grant{ttl: time.Hour}}, 18 * time.Minute, 22 * time.Minute},
		"a second":       {lease{at: now, grant: grant{ttl: time.Second}}, time.Second, time.Second},
		"over":           {lease{at: now.Add(-time.Hour), grant: grant{ttl: time.Minute}}, 0, 0},
		"without an end": {lease{at: now.Add(-1000 * time.Hour)}, 14 * time.Hour, 18 * time.Hour},
	}
	for name, tt := range tests {
		for range 100 {
			if got := tt.lease.due(now, time.Second); got < tt.min || got > tt.max {
				t.Fatalf("%s: %s; want %s to %s", name, got, tt.min, tt.max)
			}
		}
	}
}

func TestBackoffIsBounded(t *testing.T) {
	t.Parallel()
	b := backoff{pace: defaultPace()}
	if d := b.wait(); d < b.pace.first/2 || d > b.pace.first {
		t.Errorf("first wait = %s", d)
	}
	for range 20 {
		if d := b.wait(); d > b.pace.last {
			t.Fatalf("wait = %s; want at most %s", d, b.pace.last)
		}
	}
	b.reset()
	if d := b.wait(); d > b.pace.first {
		t.Errorf("wait after a success = %s", d)
	}
}

func TestHealthOrder(t *testing.T) {
	t.Parallel()
	h := newHealth(time.Now, slog.New(slog.DiscardHandler))
	fail := func(target string, s State) { h.failed(target, &Error{State: s, Target: target}) }
	steps := []struct {
		do   func()
		want State
	}{
		{func() {}, Starting},
		{func() { fail(loginTarget, WrongRole) }, WrongRole},
		{func() { fail(loginTarget, Unreachable) }, Unreachable},
		{func() { fail(loginTarget, NoCredentials) }, Unreachable},
		{func() { h.worked(loginTarget) }, OK},
		{func() { fail("b", Refused) }, Refused},
		{func() { fail("c", PermissionDenied) }, PermissionDenied},
		{func() { fail("a", Sealed) }, Sealed},
		{func() { h.worked("a") }, PermissionDenied},
		{func() { h.forget("c") }, Refused},
		{func() { h.worked("b") }, OK},
	}
	for i, step := range steps {
		step.do()
		if got, _, _ := h.report(); got != step.want {
			t.Fatalf("step %d: %s; want %s", i, got, step.want)
		}
	}
}

func FuzzParseContent(f *testing.F) {
	f.Add([]byte(`{"data":{"data":{"k":"v"},"metadata":{"version":2,"created_time":"2026-01-02T03:04:05Z"}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseContent(decode(t, text), time.Now())
		if (c == nil) == (err == nil) || c != nil && c.version < 1 {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func FuzzTransitAnswers(f *testing.F) {
	f.Add([]byte(`{"data":{"signature":"vault:v1:YWJj","min_encryption_version":0,"keys":{"1":{"public_key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","creation_time":"2026-01-02T03:04:05Z"}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := decode(t, text)
		if s == nil {
			return
		}
		versions, err := parsePublicVersions(s.Data)
		if err == nil && len(versions) > maxPublic {
			t.Errorf("%d versions", len(versions))
		}
		signed, _ := s.Data["signature"].(string)
		if b, err := parseSignature(signed, 1); err == nil && (len(b) == 0 || len(b) > maxSignature) {
			t.Errorf("a signature of %d bytes", len(b))
		}
	})
}

func FuzzScrub(f *testing.F) {
	f.Add("https://a:b@c hvs.abcdefghijkl eyJhbGciOiJFUzI1NiJ9")
	f.Fuzz(func(t *testing.T, text string) {
		got := scrub(text, []string{"known-credential"})
		if len(got) > maxDetail+len(" …") || strings.Contains(got, "known-credential") || strings.ContainsAny(got, "\r\n\x00") {
			t.Errorf("%q gives %q", text, got)
		}
	})
}
