package main

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const listPolicy = `apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: shop}
spec:
  selector: {}
  authorization: {default: Anonymous}
  passwordPolicy:
    rules: {breachedPasswords: {file: {claimName: breached, path: lists/pwned.txt}, onFailure: Deny}}
    routes: [{match: [{paths: [/register]}], password: {json: password}}]
`

// TestVolumesDir: run, test and explain read the files of claims below --volumes-dir.
func TestVolumesDir(t *testing.T) {
	dir := t.TempDir()
	const breached = "Velvet-Harbour-77-Lantern"
	list := filepath.Join(dir, "breached", "lists", "pwned.txt")
	line := fmt.Sprintf("%X:3\n", sha1.Sum([]byte(breached))) //nolint:gosec // the format of the list
	if err := errors.Join(os.MkdirAll(filepath.Dir(list), 0o700), os.WriteFile(list, []byte(line), 0o600)); err != nil {
		t.Fatal(err)
	}
	body := func(password string) string { return `{"password":"` + password + `"}` }
	cases := func(status int) string {
		return fmt.Sprintf("cases:\n- {name: a, request: {path: /register, method: POST, headers: {Content-Type: application/json}, body: '%s'}, expect: {status: %d}}\n", body(breached), status)
	}
	for status, volumes := range map[int]string{422: dir, 503: t.TempDir()} {
		args, _ := writeFiles(t, listPolicy, cases(status))
		if stdout, stderr, err := run(t, "", append([]string{"test", "--volumes-dir", volumes}, args...)...); err != nil {
			t.Errorf("test, %d: %v\n%s%s", status, err, stdout, stderr)
		}
		args, _ = writeFiles(t, listPolicy)
		stdout, stderr, err := run(t, "", append([]string{"explain", "--volumes-dir", volumes, "--method", "POST", "--path", "/register",
			"--header", "Content-Type: application/json", "--body", body(breached)}, args...)...)
		if err != nil || !strings.Contains(stdout, fmt.Sprintf("refused: %d password-", status)) {
			t.Errorf("explain, %d: %v\n%s%s", status, err, stdout, stderr)
		}
	}
	_, out := runInBackground(t, listPolicy, "--volumes-dir", dir, "--log-format", "text")
	address := out.await(t, `(http://127\.0\.0\.1:\d+)/\n`)[1]
	for password, want := range map[string]int{breached: 422, breached + "!": 200} {
		res, err := http.Post(address+"/register", "application/json", strings.NewReader(body(password)))
		if err != nil {
			t.Fatal(err)
		}
		if _ = res.Body.Close(); res.StatusCode != want {
			t.Errorf("run: %q gets %d; want %d", password, res.StatusCode, want)
		}
	}
}
