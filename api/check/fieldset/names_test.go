package fieldset

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	names := New("X-Auth-User", "X-Postern-*")
	tests := map[string]struct {
		name string
		want bool
	}{
		"as written":            {name: "X-Auth-User", want: true},
		"other case":            {name: "x-auth-USER", want: true},
		"underscores":           {name: "X_Auth_User", want: true},
		"mixed":                 {name: "x-auth_user", want: true},
		"a dot":                 {name: "X.Auth.User", want: true},
		"longer":                {name: "X-Auth-Users"},
		"shorter":               {name: "X-Auth"},
		"other":                 {name: "Accept"},
		"by prefix":             {name: "X-Postern-Anything", want: true},
		"by prefix, underscore": {name: "x_postern_anything", want: true},
		"prefix alone":          {name: "X-Postern"},
		"very long":             {name: "x-postern-" + strings.Repeat("a", 500), want: true},
		"empty":                 {name: ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := names.Has(tt.name); got != tt.want {
				t.Errorf("Has(%q) = %v; want %v", tt.name, got, tt.want)
			}
		})
	}
	if n := testing.AllocsPerRun(10, func() { names.Has("X-Forwarded-For") }); n != 0 {
		t.Errorf("Has takes %v allocations; want 0", n)
	}
}
