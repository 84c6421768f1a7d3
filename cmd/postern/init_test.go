package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// asPostern makes the test binary run the command line in place of the tests, for scripts.
const asPostern = "RUN_AS_POSTERN"

func TestMain(m *testing.M) {
	if os.Getenv(asPostern) != "" || slices.Contains(os.Args, compilerCommand) { // postern run starts itself
		main()
		return
	}
	code := m.Run()
	stopCluster()
	os.Exit(code)
}

// stopCluster stops the API server of the tests, if one was started.
var stopCluster = func() {}

const shapes = "../../controllers/boilerplate/testdata"

// initialized runs postern init, and returns its folder and report.
func initialized(t *testing.T, settings string, args ...string) (folder, report string) {
	t.Helper()
	folder = t.TempDir()
	report, _, err := run(t, "", append([]string{"init", "--env-file", settings, "--name", "shop", "--output", folder}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return folder, report
}

func content(t *testing.T, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wanted are warnings about what the report says too: the end of the old tokens, and the proxies and the Redis that no setting names.
var wanted = regexp.MustCompile(`(?m)^.*warning: .*(tokens of the app's former code are accepted until|the SidecarClass has no (trustedProxies|Redis)).*\n`)

// TestInitPassesLint: what is written for each shape of settings is valid, without a warning that the report does not have.
func TestInitPassesLint(t *testing.T) {
	variants := map[string][]string{
		"plain": nil,
		"with options": {"--namespace", "web", "--selector", "app.kubernetes.io/name=shop", "--port", "9000", "--issuer", "https://id.example.com", "--reset-path", "/password/reset/",
			"--login-path", "/in", "--account", "json:user.email", "--rate-limit", "otp=POST /otp 5/minute;20/day", "--vault-path", "secret/shop", "--vault-address", "https://vault.example.com:8200"},
	}
	settings, err := filepath.Glob(shapes + "/*/settings.env")
	if err != nil || len(settings) < 5 {
		t.Fatalf("found %d settings, error %v", len(settings), err)
	}
	for _, path := range settings {
		for variant, args := range variants {
			t.Run(filepath.Base(filepath.Dir(path))+"/"+variant, func(t *testing.T) {
				folder, report := initialized(t, path, args...)
				policy := filepath.Join(folder, policyFile)
				out, _, err := run(t, "", "lint", "-f", filepath.Join(folder, classFile), "-f", policy)
				if err != nil || !strings.Contains(out, policyFile+": 1 policy is valid") || strings.Contains(wanted.ReplaceAllString(out, ""), "warning") {
					t.Errorf("lint: %v\n%s\n%s", err, out, content(t, policy))
				}
				if !strings.Contains(report, "To do:") {
					t.Errorf("report:\n%s", report)
				}
			})
		}
	}
}

// TestInitIsIdempotent: a second run changes nothing, also on another day; other content is kept unless --force is given.
func TestInitIsIdempotent(t *testing.T) {
	settings := shapes + "/express/settings.env"
	until := time.Now().Add(50 * 24 * time.Hour).UTC().Format(time.RFC3339)
	folder, _ := initialized(t, settings, "--until", until)
	again := []string{"init", "--env-file", settings, "--name", "shop", "--output", folder}
	before := content(t, folder, policyFile)
	if _, _, err := run(t, "", again...); err != nil || content(t, folder, policyFile) != before || !strings.Contains(before, until) {
		t.Fatalf("the second run: %v", err)
	}
	// One file has another content: none is written.
	if err := os.WriteFile(filepath.Join(folder, secretsFile), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(folder, classFile)); err != nil {
		t.Fatal(err)
	}
	_, _, err := run(t, "", again...)
	if err == nil || !strings.Contains(err.Error(), "--force") || content(t, folder, secretsFile) != "mine" {
		t.Errorf("another content: %v", err)
	}
	if _, err := os.Stat(filepath.Join(folder, classFile)); err == nil {
		t.Error("one file was written although another was refused")
	}
	if _, _, err := run(t, "", append(again, "--force")...); err != nil || content(t, folder, secretsFile) == "mine" || content(t, folder, policyFile) != before {
		t.Errorf("with --force: %v", err)
	}
}

func TestInitRefuses(t *testing.T) {
	settings := shapes + "/express/settings.env"
	tests := map[string]struct {
		args  []string
		stdin string
		want  string
	}{
		"no file":           {args: []string{"--env-file", "none.env"}, want: "none.env"},
		"a file with fault": {args: []string{"--env-file", "-"}, stdin: "A='hunter2", want: "line 1: the quote of A is not closed"},
		"a big file":        {args: []string{"--env-file", "-"}, stdin: strings.Repeat("#", 300<<10), want: "more than 262144 bytes"},
		"an encoding":       {args: []string{"--env-file", settings, "--secret-encoding", "hex"}, want: "--secret-encoding"},
		"no time":           {args: []string{"--env-file", settings, "--until", "tomorrow"}, want: "--until"},
		"a past time":       {args: []string{"--env-file", settings, "--until", "2001-01-01T00:00:00Z"}, want: "is past"},
		"an argument":       {args: []string{settings}, want: "unexpected argument"},
		"a name":            {args: []string{"--env-file", settings, "--name", "Shop"}, want: "the name"},
		"an unknown secret": {args: []string{"--env-file", settings, "--print-secret", "x"}, want: "no secret"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			out, _, err := run(t, tt.stdin, append([]string{"init", "--output", folder}, tt.args...)...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") || out != "" {
				t.Errorf("error %v, output %q; want %q", err, out, tt.want)
			}
			if files, _ := os.ReadDir(folder); len(files) > 0 {
				t.Errorf("%d files were written", len(files))
			}
		})
	}
}

// TestInitCommands runs the script with a kubectl that keeps what it gets: each secret arrives, and none is an argument.
func TestInitCommands(t *testing.T) {
	settings, err := filepath.Abs(shapes + "/fastapi-redis/settings.env")
	if err != nil {
		t.Fatal(err)
	}
	folder, _ := initialized(t, settings)
	bin, stored := t.TempDir(), t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"postern": "#!/bin/sh\n" + asPostern + "=1 exec '" + self + "' \"$@\"\n",
		"kubectl": "#!/bin/sh\necho \"$@\" >> '" + stored + "/arguments'\ncat > '" + stored + "'/\"$4\"\n",
		"openssl": "#!/bin/sh\necho a key\n",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", filepath.Join(folder, secretsFile))
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range map[string]string{
		"shop-legacy": "hR4$kk9!zWq#T1mUv8Xy_bN2cP6eJ0sL7dG5fA3o", "shop-redis": "Zx81-Spectrum-48K", "shop-signing": "a key\n",
		"arguments": "create secret generic shop-signing --namespace shop --from-file=key.pem=/dev/stdin\n" +
			"create secret generic shop-legacy --namespace shop --from-file=secret=/dev/stdin\n" +
			"create secret generic shop-redis --namespace shop --from-file=password=/dev/stdin\n",
	} {
		if got := content(t, stored, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}
