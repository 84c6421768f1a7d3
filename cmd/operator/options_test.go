package main

import (
	"strings"
	"testing"
)

// TestImageMirrorsAreParsed checks that a mirror that can match no image stops the operator at its start.
func TestImageMirrorsAreParsed(t *testing.T) {
	for mirrors, want := range map[string]string{
		"": "", "registry.example/cache,registry.example:5000": "",
		"https://registry.example": "--sidecar-image-mirrors: image mirror \"https://registry.example\" is not a registry",
	} {
		_, err := parseOptions([]string{
			"--operator-namespace=postern-system", "--sidecar-image=x", "--operator-url=https://postern", "--sidecar-image-mirrors=" + mirrors,
		}, func(string) string { return "" })
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", mirrors, err, want)
		}
	}
}
