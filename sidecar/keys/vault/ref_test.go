package vault

import (
	"strings"
	"testing"
)

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
		"too long":      {Ref{Path: "secret/" + strings.Repeat("x", 512), Key: "k"}, false},
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
		"CLI form":                  {"secret/a/b", "secret/", "secret/data/a/b"},
		"policy form":               {"secret/data/a/b", "secret/", "secret/data/a/b"},
		"a secret named data":       {"secret/data/data/b", "secret/", "secret/data/data/b"},
		"a mount with two segments": {"team/kv/a", "team/kv/", "team/kv/data/a"},
		"another mount":             {"secret/a", "kv/", ""},
		"a longer mount name":       {"secret/a", "secret/a/", ""},
		"no mount":                  {"secret/a", "", ""},
	}
	for name, tt := range tests {
		place, err := locate(tt.path, tt.mount)
		if (err == nil) != (tt.want != "") || err == nil && place.data() != tt.want {
			t.Errorf("%s: %+v, %v; want %q", name, place, err, tt.want)
		}
	}
}
