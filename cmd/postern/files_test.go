package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A policy that needs a class with a Vault and two Secrets, and what it names.
const (
	needsMuch = `apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: app, namespace: shop}
spec:
  selector: {}
  sidecarClassName: edge
  jwt:
    providers:
    - {name: a, issuer: "https://a.example", audiences: [app], algorithms: [HS256], jwks: {secretKeyRef: {name: hmac, key: key}}}
  rateLimits:
  - {name: all, limit: 5/minute, keyBy: [{type: ClientAddress}]}
`
	edgeClass = `# of the platform team
apiVersion: postern.dev/v1alpha1
kind: SidecarClass
metadata: {name: edge, uid: 1b0c, managedFields: [{manager: helm, operation: Apply}]}
spec:
  redis: {addresses: ["redis.shop:6379"], passwordRef: {secretKeyRef: {name: redis, key: password}}}
status: {policies: 3}
`
	hmacSecret  = "apiVersion: v1\nkind: Secret\nmetadata: {name: hmac, namespace: shop}\nstringData: {key: 0123456789abcdef0123456789abcdef}\n"
	redisSecret = "apiVersion: v1\nkind: Secret\nmetadata: {name: redis, namespace: shop}\ndata: {password: c2VjcmV0}\n"
)

// writeFiles writes files into a new folder, and returns "-f name" for each, in the order of the list, and the folder.
func writeFiles(t *testing.T, contents ...string) (args []string, dir string) {
	t.Helper()
	dir = t.TempDir()
	for i, content := range contents {
		name := filepath.Join(dir, fmt.Sprintf("%d.yaml", i))
		write(t, name, content)
		args = append(args, "-f", name)
	}
	return args, dir
}

// TestLintSaysWhatItDoesNotCheck: without the class and the Secrets of a policy there is one note for each kind, and none with them.
func TestLintSaysWhatItDoesNotCheck(t *testing.T) {
	const class, secret = `the SidecarClass "edge" of SecurityPolicy app`, "the Secret shop/"
	carts := strings.Replace(needsMuch, "name: app, namespace", "name: carts, namespace", 1)
	for name, tt := range map[string]struct {
		files        []string
		want, wantNo []string
	}{
		"nothing else":      {[]string{needsMuch}, []string{class, "kubectl get sidecarclass edge -o yaml > class.yaml", "-f class.yaml", "the Secret shop/hmac of SecurityPolicy app"}, []string{"redis of"}},
		"two policies":      {[]string{needsMuch, carts}, []string{class + ", carts.", "shop/hmac of SecurityPolicy app, carts."}, nil},
		"no class is named": {[]string{strings.Replace(needsMuch, "  sidecarClassName: edge\n", "", 1)}, []string{"the default SidecarClass of SecurityPolicy app", "kubectl get sidecarclass -o yaml"}, nil},
		"with the class":    {[]string{needsMuch, edgeClass}, []string{"shop/hmac of SecurityPolicy app; the Secret shop/redis"}, []string{"SidecarClass"}},
		"with a Secret":     {[]string{needsMuch, hmacSecret}, []string{class}, []string{secret}},
		"with all":          {[]string{needsMuch, edgeClass, hmacSecret, redisSecret}, nil, []string{"note"}},
		"another namespace": {[]string{needsMuch, edgeClass, strings.Replace(hmacSecret, "namespace: shop", "namespace: other", 1), redisSecret}, []string{secret + "hmac"}, []string{"redis of"}},
	} {
		t.Run(name, func(t *testing.T) {
			args, _ := writeFiles(t, tt.files...)
			_, stderr, err := run(t, "", append([]string{"lint"}, args...)...)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if strings.Count(stderr, want) != 1 {
					t.Errorf("%q is not once in:\n%s", want, stderr)
				}
			}
			for _, no := range tt.wantNo {
				if strings.Contains(stderr, no) {
					t.Errorf("%q is in:\n%s", no, stderr)
				}
			}
		})
	}
}

// TestCompileSaysThatItHasNoClass: the document without a class has no Redis, which must not go unnoticed.
func TestCompileSaysThatItHasNoClass(t *testing.T) {
	args, _ := writeFiles(t, needsMuch, edgeClass)
	if out, stderr, err := run(t, "", "compile", args[0], args[1]); err != nil || strings.Contains(out, "redis.shop") || !strings.Contains(stderr, `note: the files do not have the SidecarClass "edge"`) {
		t.Errorf("without: %v, %s, %s", err, stderr, out)
	}
	if out, stderr, err := run(t, "", append([]string{"compile"}, args...)...); err != nil || !strings.Contains(out, "redis.shop:6379") || strings.Contains(stderr, "note") {
		t.Errorf("with: %v, %s, %s", err, stderr, out)
	}
}

// TestFilesAreOneSet: the class of one file applies to the policies of another, and each finding has the file and the line where the
// mistake is.
func TestFilesAreOneSet(t *testing.T) {
	revocation := "apiVersion: postern.dev/v1alpha1\nkind: TokenRevocation\nmetadata: {name: r, namespace: shop}\nspec: {tokenID: j, issuer: 'https://b.example'}\n"
	noKey := strings.Replace(redisSecret, "password:", "passwort:", 1)
	const badVault = "apiVersion: postern.dev/v1alpha1\nkind: SidecarClass\nmetadata: {name: edge}\nspec:\n  vault: {address: https://v:8200, caBundle: nope, auth: {kubernetes: {role: r}}}\n"
	badClass := strings.Replace(edgeClass, `"redis.shop:6379"`, `"redis.shop"`, 1)
	for name, tt := range map[string]struct {
		files []string
		// want is the start of a finding, after the name of the folder.
		want    string
		wantErr error
	}{
		"a warning by the class":       {[]string{edgeClass, needsMuch}, "1.yaml:11: warning: SecurityPolicy/app: spec.rateLimits[0].keyBy: counts by ClientAddress, and the SidecarClass has no trustedProxies", nil},
		"a mistake of the class":       {[]string{needsMuch, badClass}, "1.yaml:6: error: SidecarClass/edge: spec.redis.addresses", errFindings},
		"a section that nobody uses":   {[]string{badVault}, "0.yaml:5: error: SidecarClass/edge: spec.vault.caBundle: the CA bundle contains no PEM", errFindings},
		"a class that nobody names":    {[]string{strings.Replace(needsMuch, "edge", "other", 1), edgeClass}, "0.yaml:6: error: SecurityPolicy/app: spec.sidecarClassName: the SidecarClass \"edge\"", errFindings},
		"a Secret without the key":     {[]string{needsMuch, edgeClass, hmacSecret, noKey}, "3.yaml:4: warning: Secret/redis: data: it has no key \"password\", which SecurityPolicy/app names", nil},
		"a revocation":                 {[]string{revocation, needsMuch}, "0.yaml:4: warning: TokenRevocation/r: spec.issuer: no SecurityPolicy of the files", nil},
		"the same policy twice":        {[]string{needsMuch, "# copy\n" + needsMuch}, "1.yaml:4: warning: SecurityPolicy/app: metadata.name: the same object is at ", nil},
		"a schema error in the second": {[]string{edgeClass, strings.Replace(needsMuch, "5/minute", "often", 1)}, "1.yaml:11: error: SecurityPolicy/app: spec.rateLimits[0].limit", errFindings},
	} {
		t.Run(name, func(t *testing.T) {
			args, dir := writeFiles(t, tt.files...)
			out, _, err := run(t, "", append([]string{"lint"}, args...)...)
			if !errors.Is(err, tt.wantErr) || !strings.Contains(out, dir+"/"+tt.want) {
				t.Errorf("error %v, output:\n%s\nwant %s", err, out, tt.want)
			}
		})
	}
}

// TestVerdictOfEachFile: each file without errors has its own line, and a file in which nothing was compared is an error.
func TestVerdictOfEachFile(t *testing.T) {
	args, dir := writeFiles(t, needsMuch, edgeClass, hmacSecret, strings.Replace(needsMuch, "5/minute", "often", 1))
	out, _, err := run(t, "", append([]string{"lint"}, args...)...)
	for _, want := range []string{"/0.yaml: 1 policy is valid\n", "/1.yaml: 1 class is valid\n", "/2.yaml: 1 Secret was checked: whether the policies"} {
		if !errors.Is(err, errFindings) || !strings.Contains(out, dir+want) {
			t.Errorf("error %v, output:\n%s\nwant %s", err, out, want)
		}
	}
	if strings.Contains(out, "3.yaml: 1") {
		t.Errorf("the file with an error is valid:\n%s", out)
	}
	if _, _, err := run(t, hmacSecret, "lint", "-f", "-"); !errors.Is(err, errNoObjects) {
		t.Errorf("a Secret alone: %v", err)
	}
}

// TestListsAreRead: what kubectl get -o yaml prints of several objects is a List.
func TestListsAreRead(t *testing.T) {
	indent := func(s string) string {
		return "- " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n  ") + "\n"
	}
	list := "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: \"\"}\nitems:\n" + indent(strings.TrimPrefix(edgeClass, "# of the platform team\n")) +
		indent(strings.Replace(needsMuch, "5/minute", "often", 1))
	out, _, err := run(t, list, "lint", "-f", "-")
	if !errors.Is(err, errFindings) || !strings.Contains(out, "-:21: error: SecurityPolicy/app: spec.rateLimits[0].limit") {
		t.Errorf("error %v, output:\n%s", err, out)
	}
	out, stderr, err := run(t, strings.Replace(list, "often", "5/minute", 1), "lint", "-f", "-")
	if err != nil || !strings.Contains(out, "-: 1 policy and 1 class are valid") || strings.Contains(stderr, "SidecarClass") {
		t.Errorf("error %v, %s, output:\n%s", err, stderr, out)
	}
}

// TestWatchReadsAllFiles: a change of any file is enforced, and a file that is read once keeps its content.
func TestWatchReadsAllFiles(t *testing.T) {
	class := "apiVersion: postern.dev/v1alpha1\nkind: SidecarClass\nmetadata: {name: c, annotations: {postern.dev/is-default-class: \"true\"}}\nspec: {logLevel: info}\n"
	w, first := watching(t, openPolicy, class)
	if first.Sidecar.LogLevel != "info" {
		t.Fatalf("the class does not apply: %+v", first.Sidecar)
	}
	write(t, w.files[1], strings.Replace(class, "info", "debug", 1))
	if got := lookTwice(t, w); got == nil || got.Sidecar.LogLevel != "debug" {
		t.Fatalf("a change of the second file gives %+v", got)
	}
	w.watched = w.files[:1]
	if err := os.Remove(w.files[1]); err != nil {
		t.Fatal(err)
	}
	write(t, w.files[0], strings.Replace(openPolicy, "5/minute", "6/minute", 1))
	if got := lookTwice(t, w); got == nil || got.Sidecar.LogLevel != "debug" || got.Revision != first.Revision+2 {
		t.Errorf("beside a file that is not watched: %+v", got)
	}
}
