package main

import (
	"strings"
	"testing"
)

// TestArgumentsWithoutFlags: what a shell makes of -f *.yaml, and a forgotten flag, are refused with what to write.
func TestArgumentsWithoutFlags(t *testing.T) {
	for line, want := range map[string]string{
		"lint policy.yaml":                  `unexpected argument "policy.yaml": write -f before each file`,
		"lint -f a.yaml b.yaml":             `unexpected argument "b.yaml": write -f before each file`,
		"compile -f a.yaml b.yaml":          "write -f before each file",
		"run -f a.yaml b.yaml --upstream x": "write -f before each file",
		"revoke user-42":                    `unexpected argument "user-42": postern revoke takes flags only, see postern revoke --help`,
		"sessions list user-42":             "postern sessions list takes flags only",
		"token sign key.json":               "postern token sign takes flags only",
		"lint -f .":                         ". is a directory: write -f before each of its files",
	} {
		if _, _, err := run(t, "", strings.Fields(line)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", line, err, want)
		}
	}
}
