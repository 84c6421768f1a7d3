package identity

import "testing"

func TestClaim(t *testing.T) {
	id := &Identity{Claims: map[string]any{
		"sub":                    "ada",
		"https://example.com/id": "7",
		"realm":                  map[string]any{"roles": "admin", "a.b": map[string]any{"c": "deep"}},
		"realm.roles.dotted":     "whole name",
	}}
	tests := map[string]struct {
		path   string
		want   any
		wantOK bool
	}{
		"top level":               {path: "sub", want: "ada", wantOK: true},
		"a name with dots":        {path: "https://example.com/id", want: "7", wantOK: true},
		"nested":                  {path: "realm.roles", want: "admin", wantOK: true},
		"nested name with a dot":  {path: "realm.a.b.c", want: "deep", wantOK: true},
		"whole name before path":  {path: "realm.roles.dotted", want: "whole name", wantOK: true},
		"absent":                  {path: "tenant"},
		"through a value":         {path: "sub.name"},
		"an empty path":           {path: ""},
		"a path that ends in dot": {path: "realm."},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := id.Claim(tt.path)
			if ok != tt.wantOK || (ok && got != tt.want) {
				t.Errorf("Claim(%q) = %v, %v; want %v, %v", tt.path, got, ok, tt.want, tt.wantOK)
			}
		})
	}
	if _, ok := (*Identity)(nil).Claim("sub"); ok {
		t.Error("an anonymous request has a claim")
	}
}
