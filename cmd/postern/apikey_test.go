package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/apikey"
)

func runAPIKey(t *testing.T, input string, args ...string) (out, errOut string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	cmd := newCommand()
	cmd.SetArgs(append([]string{"apikey"}, args...))
	cmd.SetIn(strings.NewReader(input))
	cmd.SetOut(&o)
	cmd.SetErr(&e)
	err = cmd.Execute()
	return o.String(), e.String(), err
}

// TestAPIKeyNew: the key is only on standard output, and the entry accepts it.
func TestAPIKeyNew(t *testing.T) {
	out, entry, err := runAPIKey(t, "", "new", "--id", "ci", "--subject", "svc:ci", "--scope", "orders:read", "--expires", "90d")
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSuffix(out, "\n")
	file, err := apikey.Parse([]byte(entry))
	if err != nil || strings.Contains(entry, key) {
		t.Fatalf("%v: %s", err, entry)
	}
	e := file.Lookup(key)
	if e == nil || e.ID != "ci" || e.Subject != "svc:ci" || e.Claims["scope"] != "orders:read" {
		t.Fatalf("entry %+v", e)
	}
	if e.Expired(time.Now().Add(89*24*time.Hour)) || !e.Expired(time.Now().Add(91*24*time.Hour)) {
		t.Errorf("it expires at %s", e.Expires)
	}
	if hash, _, err := runAPIKey(t, key+"\n", "hash"); err != nil || !strings.Contains(entry, strings.TrimSpace(hash)) {
		t.Errorf("hash %q, %v; the entry is %s", hash, err, entry)
	}
}

// TestAPIKeyFile: entries are appended; a file that would not be valid stays as it is, and no key is printed.
func TestAPIKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.yaml")
	var keys []string
	for _, id := range []string{"a", "b"} {
		out, errOut, err := runAPIKey(t, "", "new", "--id", id, "--subject", "svc:"+id, "--file", path)
		if err != nil || errOut != "" {
			t.Fatal(err, errOut)
		}
		keys = append(keys, strings.TrimSpace(out))
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := apikey.Parse(before)
	if err != nil || file.Len() != 2 || file.Lookup(keys[0]) == nil || file.Lookup(keys[1]) == nil {
		t.Fatalf("%v: %s", err, before)
	}
	if out, _, err := runAPIKey(t, "", "new", "--id", "a", "--subject", "svc:a", "--file", path); err == nil || out != "" {
		t.Errorf("a second key with the same id: %q, %v", out, err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("the refused entry changed the file")
	}
	if out, _, err := runAPIKey(t, "", "check", path); err != nil || out != "2 keys, 0 expired\n" {
		t.Errorf("check: %q, %v", out, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode is %v, %v", info.Mode(), err)
	}
}

func TestAPIKeyFlags(t *testing.T) {
	for name, args := range map[string][]string{
		"no id":              {"new", "--subject", "a"},
		"no subject":         {"new", "--id", "a"},
		"an id with a space": {"new", "--id", "a b", "--subject", "a"},
		"a scope with space": {"new", "--id", "a", "--subject", "a", "--scope", "a b"},
		"no lifetime":        {"new", "--id", "a", "--subject", "a", "--expires", "soon"},
		"negative lifetime":  {"new", "--id", "a", "--subject", "a", "--expires", "-3d"},
		"endless lifetime":   {"new", "--id", "a", "--subject", "a", "--expires", "99999999999d"},
		"not a key":          {"hash"},
	} {
		if out, _, err := runAPIKey(t, "pstn_x", args...); err == nil || out != "" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}
