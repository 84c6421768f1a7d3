package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestSignWarns: a token that no provider accepts is printed with a warning for each missing claim, on standard error, so that $(…) has
// the token alone.
func TestSignWarns(t *testing.T) {
	key, _, err := run(t, "", "token", "new-key")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.json")
	write(t, file, key)
	const issuer, audience, subject = "no iss, so no provider of a policy accepts it: add --issuer", "no aud, so a provider with audiences refuses it: add --audience", "no sub, so it is for nobody"
	for name, tt := range map[string]struct {
		flags []string
		want  []string
	}{
		"nothing":     {nil, []string{issuer, audience, subject}},
		"no issuer":   {[]string{"--audience", "a", "--subject", "s"}, []string{issuer}},
		"no audience": {[]string{"--issuer", "i", "--subject", "s"}, []string{audience}},
		"no subject":  {[]string{"--issuer", "i", "--audience", "a"}, []string{subject}},
		"all":         {[]string{"--issuer", "i", "--audience", "a", "--subject", "s"}, nil},
		"by --claim":  {[]string{"--claim", "iss=i", "--claim", `aud=["a"]`, "--claim", "sub=s"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			out, stderr, err := run(t, "", append([]string{"token", "sign", "--key", file}, tt.flags...)...)
			if err != nil || strings.Count(out, ".") != 2 || strings.Contains(out, "warning") || strings.Count(stderr, "warning: ") != len(tt.want) {
				t.Fatalf("error %v, output %s, %s", err, out, stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("%q is not in:\n%s", want, stderr)
				}
			}
		})
	}
}
