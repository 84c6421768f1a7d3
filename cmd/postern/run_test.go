package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// output collects the output of a command that runs in the background.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// await waits until the output matches want, and returns the submatches.
func (o *output) await(t *testing.T, want string) []string {
	t.Helper()
	pattern := regexp.MustCompile(want)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		o.mu.Lock()
		text := o.b.String()
		o.mu.Unlock()
		if found := pattern.FindStringSubmatch(text); found != nil {
			return found
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %q in:\n%s", want, text)
		}
	}
}

const openPolicy = `apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: app}
spec:
  selector: {}
  authorization:
    rules: [{name: all, match: [{paths: [/**]}], require: Anonymous}]
  rateLimits: [{name: writes, match: [{methods: [POST]}], limit: 5/minute}]
`

// runInBackground runs postern run with a policy file until the test ends.
func runInBackground(t *testing.T, policy string, args ...string) (file string, out *output) {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(app.Close)
	file = filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	out = &output{}
	cmd := newCommand()
	cmd.SetErr(out)
	cmd.SetArgs(append([]string{"run", "-f", file, "--upstream", app.URL, "--listen", "127.0.0.1:0", "--admin", "", "--loopback", ""}, args...))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return file, out
}

func status(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRunEnforcesChangedFile(t *testing.T) {
	file, out := runInBackground(t, openPolicy, "--log-format", "text")
	url := out.await(t, `try +curl -i (http://127\.0\.0\.1:\d+/)\n`)[1]
	out.await(t, `^\npostern \(version dev\) enforces SecurityPolicy default/app from (.*\n)+.* INFO  enforcing `) // the log comes after the welcome text
	if got := status(t, url); got != http.StatusOK {
		t.Fatalf("status %d before the change", got)
	}
	closed := strings.Replace(openPolicy, "require: Anonymous", "require: Deny", 1)
	write(t, file, closed)
	out.await(t, "INFO  changed policy active policy=app")
	if got := status(t, url); got != http.StatusForbidden {
		t.Errorf("status %d after the change", got)
	}

	for name, tt := range map[string]struct{ content, wantLog string }{
		"invalid":        {strings.Replace(openPolicy, "5/minute", "often", 1), `policy.yaml:8: error: SecurityPolicy/app: spec.rateLimits\[0\].limit: `},
		"not YAML":       {"{", "ERROR changed policy file refused, the previous policy stays active .*reading manifest"},
		"empty":          {"", "ERROR changed policy file refused, the previous policy stays active .*no valid SecurityPolicy"},
		"another policy": {strings.Replace(openPolicy, "name: app", "name: other", 1), `refused, .*the file has no SecurityPolicy \\"app\\"`},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, file, tt.content)
			out.await(t, tt.wantLog)
			if got := status(t, url); got != http.StatusForbidden {
				t.Errorf("status %d, want the status of the previous policy", got)
			}
		})
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	out.await(t, "ERROR policy file cannot be read, the previous policy stays active")
	if got := status(t, url); got != http.StatusForbidden {
		t.Errorf("status %d without the file", got)
	}
	write(t, file, closed+"# a comment\n")
	out.await(t, "policy file changed, but the policy is the same")
}

func TestRunWritesJSONWithoutTerminal(t *testing.T) {
	file, out := runInBackground(t, openPolicy)
	out.await(t, `^\{"time":.*"msg":"enforcing","policy":"app"`)
	write(t, file, strings.Replace(openPolicy, "5/minute", "often", 1))
	out.await(t, `"level":"ERROR","msg":"policy file finding","file":"[^"]*policy.yaml:8","object":"SecurityPolicy/app","field":"spec.rateLimits\[0\].limit"`)
	out.await(t, `"msg":"changed policy file refused`)
	for _, line := range strings.Split(strings.TrimSpace(out.await(t, `(?s).*`)[0]), "\n") {
		if !strings.HasPrefix(line, "{") {
			t.Errorf("a line that is not JSON: %s", line)
		}
	}
}

func TestHeldLogIsWrittenOnce(t *testing.T) {
	var b bytes.Buffer
	h := newHeldWriter(&b)
	_, _ = h.Write([]byte("one\n"))
	if b.Len() > 0 {
		t.Errorf("written before release: %q", &b)
	}
	for range 2 {
		h.release(func() { b.WriteString("welcome\n") })
	}
	_, _ = h.Write([]byte("two\n"))
	if b.String() != "welcome\none\ntwo\n" {
		t.Errorf("got %q", &b)
	}
}

func TestRunRejectsUnknownLogFormat(t *testing.T) {
	if _, _, err := run(t, openPolicy, "run", "-f", "-", "--upstream", "http://127.0.0.1:1", "--log-format", "xml"); err == nil || !strings.Contains(err.Error(), "--log-format") {
		t.Errorf("error = %v", err)
	}
}

// TestRunSaysThatItHasNoClass: a policy that names a class does not run without its Redis in silence.
func TestRunSaysThatItHasNoClass(t *testing.T) {
	_, out := runInBackground(t, strings.Replace(openPolicy, "selector: {}", "selector: {}\n  sidecarClassName: edge", 1))
	out.await(t, `"msg":"the SidecarClass that the policy names is not in the files, so it runs without redis, vault and trustedProxies","class":"edge"`)
}
