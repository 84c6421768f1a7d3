package check

import (
	"strings"
	"testing"
)

// TestInsecureKeysURI: plain HTTP from any host, and nothing else.
func TestInsecureKeysURI(t *testing.T) {
	for uri, want := range map[string]bool{
		"http://keys.shop.svc/jwks.json": true, "http://keys.shop.svc:8080/": true, "https://id.example.com/keys": true,
		"http://u:p@keys.shop.svc/": false, "http:///keys": false, "http://keys:0/": false, "ftp://keys.shop.svc/": false, "http://keys/#a": false,
	} {
		if err := KeysURI(uri, true); (err == nil) != want {
			t.Errorf("%s: %v; want accepted: %v", uri, err, want)
		}
	}
	if KeysURI("http://keys.shop.svc/jwks.json", false) == nil {
		t.Error("plain HTTP is accepted without the field")
	}
}

func TestKeysURI(t *testing.T) {
	tests := map[string]struct {
		uri     string
		wantErr string
	}{
		"https":                  {uri: "https://id.example.com/jwks.json"},
		"http on IPv4 loopback":  {uri: "http://127.0.0.1:8080/"},
		"http on IPv6 loopback":  {uri: "http://[::1]:8080/"},
		"http on localhost":      {uri: "http://localhost/"},
		"http":                   {uri: "http://id.example.com/", wantErr: "https://"},
		"http, loopback in name": {uri: "http://127.0.0.1.example.com/", wantErr: "https://"},
		"file":                   {uri: "file:///etc/passwd", wantErr: "no host"},
		"other scheme":           {uri: "ftp://a/", wantErr: "https://"},
		"credentials":            {uri: "https://u:hunter2@id.example.com/", wantErr: "user name"},
		"no host":                {uri: "https:///jwks.json", wantErr: "no host"},
		"only a port":            {uri: "https://:443/", wantErr: "no host"},
		"port out of range":      {uri: "https://id.example.com:99999/", wantErr: "port"},
		"fragment":               {uri: "https://id.example.com/#keys", wantErr: "fragment"},
		"not a URL":              {uri: "https://hunter2\x00", wantErr: "not a URL"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := KeysURI(tt.uri, false)
			if (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("KeysURI = %v, want %q", err, tt.wantErr)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Fatal("the error shows the address")
			}
		})
	}
}
