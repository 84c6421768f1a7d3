package transit

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestParsePublicVersions(t *testing.T) {
	t.Parallel()
	const good = `{"public_key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","creation_time":"2026-01-02T03:04:05Z"}`
	tests := map[string]struct {
		text    string
		want    int
		wantErr string
	}{
		"good":               {`{"min_encryption_version":0,"keys":{"10":` + good + `,"9":` + good + `}}`, 2, ""},
		"least":              {`{"min_encryption_version":10,"keys":{"10":` + good + `,"9":1}}`, 1, ""},
		"none":               {`{"min_encryption_version":0,"keys":{}}`, 0, ""},
		"no minimum version": {`{"keys":{}}`, 0, "min_encryption_version"},
		"no keys":            {`{"min_encryption_version":0}`, 0, "no versions"},
		"no number":          {`{"min_encryption_version":0,"keys":{"x":` + good + `}}`, 0, "not a number"},
		"leading zero":       {`{"min_encryption_version":0,"keys":{"01":` + good + `}}`, 0, "no public key"},
		"symmetric":          {`{"min_encryption_version":0,"keys":{"1":1700000000}}`, 0, "no public key"},
		"derived":            {`{"min_encryption_version":0,"keys":{"1":{"public_key":"","creation_time":"2026-01-02T03:04:05Z"}}}`, 0, "derived"},
		"no time":            {`{"min_encryption_version":0,"keys":{"1":{"public_key":"x"}}}`, 0, "creation time"},
		"unreadable PEM":     {`{"min_encryption_version":0,"keys":{"1":{"public_key":"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----","creation_time":"2026-01-02T03:04:05Z"}}}`, 0, "asn1"},
		"unreadable PKCS":    {`{"min_encryption_version":0,"keys":{"1":{"public_key":"-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----","creation_time":"2026-01-02T03:04:05Z"}}}`, 0, "asn1"},
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
			t.Errorf("%s: the oldest version is not first", name)
		}
	}
}

func FuzzTransitResponses(f *testing.F) {
	f.Add([]byte(`{"data":{"signature":"vault:v1:YWJj","min_encryption_version":0,"keys":{"1":{"public_key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","creation_time":"2026-01-02T03:04:05Z"}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s struct{ Data map[string]any }
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if d.Decode(&s) != nil {
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
