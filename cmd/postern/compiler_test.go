package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompilerRefuses: what is not a compilation gets an error, and no document.
func TestCompilerRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ input, want string }{
		"nothing":                {"", "reading what to compile: EOF"},
		"not JSON":               {"policy.yaml", "reading what to compile: invalid character"},
		"a file without content": {`{"Files":["policy.yaml"]}`, "reading what to compile: each file needs a content"},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := run(t, tt.input, compilerCommand)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || out != "" {
				t.Errorf("got %q and %v, want the error %q", out, err, tt.want)
			}
		})
	}
}

// TestRunApart: the other process returns what this one would.
func TestRunApart(t *testing.T) {
	for name, content := range map[string]string{
		"a policy":             ownTokens + revokeAda,
		"a policy with errors": strings.Replace(openPolicy, "5/minute", "often", 1),
		"no YAML":              "{",
		"another policy":       strings.Replace(openPolicy, "name: app", "name: other", 1),
		"an unknown class":     strings.Replace(openPolicy, "selector: {}", "selector: {}\n  sidecarClassName: edge", 1),
	} {
		t.Run(name, func(t *testing.T) {
			c := compilation{Files: []string{"policy.yaml"}, Content: [][]byte{[]byte(content)}, Policy: "app"}
			apart, err := c.runApart(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.Created = apart.Created // so that the time of a revocation is the same
			here := c.run(t.Context())
			if apart.Failure != here.Failure || !bytes.Equal(apart.Document, here.Document) || apart.Classless != here.Classless || len(apart.Findings) != len(here.Findings) {
				t.Errorf("apart: %s, %s\nhere: %s, %s", apart.Document, apart.Failure, here.Document, here.Failure)
			}
			for i := range apart.Findings {
				if apart.Findings[i] != here.Findings[i] {
					t.Errorf("finding %d: %+v, want %+v", i, apart.Findings[i], here.Findings[i])
				}
			}
		})
	}
}

// TestRunApartEnds: the other process ends with the context.
func TestRunApartEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (compilation{}).runApart(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// TestOwnProgram: a running command line compiles with itself, even if an upgrade has replaced its file.
func TestOwnProgram(t *testing.T) {
	program, err := ownProgram()
	if err != nil {
		t.Fatal(err)
	}
	got, err := filepath.EvalSymlinks(program)
	want, failed := os.Executable()
	if err := errors.Join(err, failed); err != nil || got != want {
		t.Errorf("%s is %s, want %s (%v)", program, got, want, err)
	}
}
