package charts

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/posterndev/postern/test/freeport"
)

// auditValues enable the audit writer with as little as possible. Without auditLogin they lack credentials.
var auditValues = []string{"audit.enabled=true", "audit.database.address=postgres:5432", "audit.database.name=postern"}

var auditLogin = []string{
	"audit.database.credentials.userRef.secretKeyRef.name=db", "audit.database.credentials.userRef.secretKeyRef.key=user",
	"audit.database.credentials.passwordRef.secretKeyRef.name=db", "audit.database.credentials.passwordRef.secretKeyRef.key=password",
}

// auditArgs are the arguments of helm for auditValues and set. auditLogin is among them if set names no other credentials.
func auditArgs(set ...string) []string {
	all := slices.Clone(auditValues)
	if !strings.Contains(strings.Join(set, " "), "audit.database.credentials") {
		all = append(all, auditLogin...)
	}
	args := []string{"template", release, chart}
	for _, s := range append(all, set...) {
		args = append(args, "--set", s)
	}
	return args
}

// audited renders the chart with auditArgs.
func audited(t *testing.T, set ...string) []*unstructured.Unstructured {
	t.Helper()
	return decode(t, run(t, "helm", auditArgs(set...)...))
}

const auditDeployment = "Deployment/postern-audit"

// TestAuditIsOff: nothing of the writer is rendered by default.
func TestAuditIsOff(t *testing.T) {
	for _, o := range decode(t, run(t, "helm", "template", release, chart, "--set", "metrics.serviceMonitor.enabled=true", "--set", "metrics.prometheusRule.enabled=true")) {
		if strings.HasPrefix(o.GetName(), "postern-audit") {
			t.Errorf("%s %s is rendered", o.GetKind(), o.GetName())
		}
	}
}

// TestAuditSettings: the command takes the settings that the chart renders, and starts with them.
func TestAuditSettings(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "audit")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../cmd/audit").CombinedOutput(); err != nil {
		t.Fatalf("building the command: %v: %s", err, out)
	}
	const sentinel = "redis.addresses={127.0.0.1:1},redis.mode=Sentinel,redis.masterName=m"
	for name, tt := range map[string]struct {
		set  []string
		want []string
	}{
		"a user of its own": {[]string{"redis.url=rediss://postern@127.0.0.1:1/2", "redis.passwordSecret.name=r", "audit.redis.username=w",
			"audit.redis.passwordRef.secretKeyRef.name=own", "audit.redis.passwordRef.secretKeyRef.key=k", "redis.timeout=50ms"},
			[]string{`"username":"w"`, `"password":{"key":"k","name":"own"}`, `"tls":{}`, `"timeout":"50ms"`, `"database":2`}},
		"the class's user": {[]string{"redis.url=redis://postern@127.0.0.1:1", "redis.passwordSecret.name=r"}, []string{`"username":"postern"`, `"name":"r"`}},
		"bundled":          {[]string{"redis.bundled.enabled=true"}, []string{`"name":"postern-redis"`}},
		"Sentinel": {[]string{sentinel, "redis.sentinelPasswordSecret.name=s"},
			[]string{`"masterName":"m"`, `"sentinelPassword":{"key":"password","name":"s"}`}},
		"TLS": {[]string{"redis.url=rediss://127.0.0.1:1", "redis.tls.serverName=n", "redis.tls.certificateRef.secretKeyRef.name=c", "redis.tls.certificateRef.secretKeyRef.key=a",
			"redis.tls.keyRef.secretKeyRef.name=c", "redis.tls.keyRef.secretKeyRef.key=b", "audit.database.tls.mode=Disable"},
			[]string{`"certificate":{"key":"a","name":"c"}`, `"serverName":"n"`}},
		"Vault": {[]string{"redis.url=redis://127.0.0.1:1", "redis.passwordRef.vault.path=secret/redis", "redis.passwordRef.vault.key=k",
			"audit.database.credentials.vault.path=database/creds/postern-audit", "audit.database.tls.serverName=pg.example.com",
			"vault.address=https://127.0.0.1:1", "vault.auth.kubernetes.role=postern", "audit.vaultRole=writer", "vault.timeout=1s"},
			[]string{`"vaultPath":"database/creds/postern-audit"`, `"serverName":"pg.example.com"`, `"password":{"key":"k","vaultPath":"secret/redis"}`, `"role":"writer"`, `"audience":"vault"`}},
		"AppRole": {[]string{"redis.url=redis://127.0.0.1:1", "vault.address=https://127.0.0.1:1", "vault.auth.appRole.roleID=r", "vault.auth.appRole.secretIDSecret.name=a"},
			[]string{`"appRole":{"mount":"approle","roleID":"r","secretID":{"key":"secret-id","name":"a"}}`}},
	} {
		t.Run(name, func(t *testing.T) {
			container := podSpecs(t, audited(t, tt.set...))[auditDeployment].Spec.Containers[0]
			port := freeport.Port(t)
			env := []string{"POSTERN_AUDIT_LISTEN=127.0.0.1:" + port, "POSTERN_SECRETS_DIR=" + t.TempDir()}
			all := ""
			for _, e := range container.Env {
				env = append(env, e.Name+"="+e.Value)
				all += e.Value
			}
			for _, want := range tt.want {
				if !strings.Contains(all, want) {
					t.Errorf("the settings have no %s: %s", want, all)
				}
			}
			wantStarts(t, binary, port, env)
		})
	}
}

// wantStarts runs the command until it is healthy, and stops it.
func wantStarts(t *testing.T, binary, port string, env []string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for healthy := false; !healthy; {
		select {
		case err := <-done:
			t.Fatalf("the command ended: %v: %s", err, out.String())
		case <-time.After(50 * time.Millisecond):
			if response, err := http.Get("http://127.0.0.1:" + port + "/healthz"); err == nil {
				healthy = response.StatusCode == http.StatusOK
				_ = response.Body.Close()
			}
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("after SIGTERM: %v: %s", err, out.String())
	}
}

// TestAuditPod: the pod is restricted, mounts the keys that it reads and nothing else, and has a token only for Vault.
func TestAuditPod(t *testing.T) {
	objects := audited(t, "redis.url=redis://redis", "redis.passwordSecret.name=r", "vault.address=https://vault:8200", "vault.auth.kubernetes.role=postern")
	pod := podSpecs(t, objects)[auditDeployment].Spec
	c := pod.Containers[0]
	if s := c.SecurityContext; *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) ||
		!*pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod is not restricted: %+v, %+v", s, pod.SecurityContext)
	}
	if *pod.AutomountServiceAccountToken || pod.ServiceAccountName != "postern-audit" {
		t.Errorf("the pod has a token of %s for the API server", pod.ServiceAccountName)
	}
	got := map[string]string{}
	for _, v := range pod.Volumes {
		switch {
		case v.Secret != nil:
			for _, i := range v.Secret.Items {
				got[v.Secret.SecretName] += i.Path + " "
			}
		case v.Projected != nil:
			got["token"] = v.Projected.Sources[0].ServiceAccountToken.Audience
		}
	}
	if want := map[string]string{"db": "user password ", "r": "password ", "token": "vault"}; fmt.Sprint(got) != fmt.Sprint(want) || len(c.VolumeMounts) != len(want) {
		t.Errorf("it mounts %v; want %v", got, want)
	}
	policy := fmt.Sprint(at(t, objects, "NetworkPolicy", "postern-audit", "spec", "egress"))
	for _, port := range []string{"5432", "6379", "8200"} {
		if !strings.Contains(policy, "port:"+port+" ") {
			t.Errorf("egress to port %s is not allowed: %s", port, policy)
		}
	}
	bundled := fmt.Sprint(at(t, audited(t, "redis.bundled.enabled=true"), "NetworkPolicy", "postern-redis", "spec", "ingress"))
	if !strings.Contains(bundled, "app.kubernetes.io/component:audit") {
		t.Errorf("the bundled Redis does not admit the writer: %s", bundled)
	}
}

// TestAuditReplicas: one replica has no budget, which would block every drain of its node.
func TestAuditReplicas(t *testing.T) {
	for replicas, want := range map[string]bool{"1": false, "2": true} {
		objects := audited(t, "redis.url=redis://redis", "audit.replicas="+replicas)
		found := slices.ContainsFunc(objects, func(o *unstructured.Unstructured) bool {
			return o.GetKind() == "PodDisruptionBudget" && o.GetName() == "postern-audit"
		})
		if found != want {
			t.Errorf("with %s replicas there is a budget: %t", replicas, found)
		}
	}
}

func TestAuditRejectsWrongValues(t *testing.T) {
	user := strings.Join(auditLogin[:2], ",")
	for set, want := range map[string]string{
		"audit.database.name=":   "needs a database",
		"audit.redis.username=a": "audit.redis: username and passwordRef",
		user + ",audit.database.credentials.vault.path=database/creds/a": "not both",
		user:                                "needs vault, or userRef and passwordRef",
		"audit.database.address=/var/run":   "does not match pattern",
		"audit.database.sslmode=disable":    "additional properties 'sslmode' not allowed",
		"audit.serviceAccount.create=false": "needs audit.serviceAccount.name",
		"redis.url=":                        "needs a Redis",
		"audit.database.credentials.vault.path=database/creds/a": "set vault.address",
	} {
		out, err := exec.CommandContext(t.Context(), "helm", auditArgs("redis.url=redis://redis", set)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, want %q: %.300s", set, err, want, out)
		}
	}
}

// TestAuditAlerts: the rules are valid, and use only metrics that the writer has.
func TestAuditAlerts(t *testing.T) {
	file := filepath.Join(chart, "files", "alerts-audit.yaml")
	if out, err := exec.CommandContext(t.Context(), "promtool", "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v: %s", err, out)
	}
	rules, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile("../sidecar/audit/drain/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`postern_[a-z_]+`).FindAllString(string(rules), -1)
	if len(names) < 4 {
		t.Errorf("the rules name the metrics %q", names)
	}
	for _, name := range names {
		if !strings.Contains(string(code), `"`+name+`"`) {
			t.Errorf("no code has the metric %s", name)
		}
	}
}
