package vault

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

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
		t.Errorf("no response: %v", err)
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
