package httperr

import "testing"

func TestInvalidToken(t *testing.T) {
	tests := map[string]struct {
		realm, want string
		wantErr     bool
	}{
		"none":       {want: `Bearer realm="postern", error="invalid_token", error_description="The token was revoked"`},
		"quoted":     {realm: `a "b" \`, want: `Bearer realm="a \"b\" \\", error="invalid_token", error_description="The token was revoked"`},
		"a new line": {realm: "a\r\nSet-Cookie: x", wantErr: true},
		"not ASCII":  {realm: "é", wantErr: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			realm, err := QuoteRealm(tt.realm)
			if (err != nil) != tt.wantErr {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			e := InvalidToken("token-revoked", realm, "The token was revoked")
			if e.Status != 401 || e.Header.Get("WWW-Authenticate") != tt.want || e.Detail != "The token was revoked." {
				t.Errorf("%+v; want %s", e, tt.want)
			}
		})
	}
}
