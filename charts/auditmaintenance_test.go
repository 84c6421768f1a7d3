package charts

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/sidecar/audit/auditsql/auditsqltest"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
)

// maintenanceLogin are credentials of the maintenance.
var maintenanceLogin = []string{
	"audit.maintenance.credentials.userRef.secretKeyRef.name=owner", "audit.maintenance.credentials.userRef.secretKeyRef.key=user",
	"audit.maintenance.credentials.passwordRef.secretKeyRef.name=owner", "audit.maintenance.credentials.passwordRef.secretKeyRef.key=password",
}

// maintenanceArgs are the arguments of helm for a maintenance without writers, as for via: Direct, and set.
func maintenanceArgs(set ...string) []string {
	args := []string{"template", release, chart}
	for _, s := range append([]string{"audit.maintenance.enabled=true", "defaultClass.database.address=postgres:5432", "defaultClass.database.name=postern"}, set...) {
		args = append(args, "--set", s)
	}
	return args
}

const maintenanceJob = "CronJob/postern-audit-maintenance"

// TestMaintenancePod: the pod is as restricted as the others, has only the credentials of the owner, and reaches the database and nothing else.
func TestMaintenancePod(t *testing.T) {
	objects := decode(t, run(t, "helm", maintenanceArgs(maintenanceLogin...)...))
	for _, o := range objects {
		if o.GetName() == "postern-audit" {
			t.Errorf("there is a %s of the writers", o.GetKind())
		}
	}
	pod := podSpecs(t, objects)[maintenanceJob].Spec
	if len(pod.Containers) != 1 {
		t.Fatalf("the CronJob has %d containers", len(pod.Containers))
	}
	c := pod.Containers[0]
	if s := c.SecurityContext; *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) ||
		!*pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("the pod is not restricted: %+v, %+v", s, pod.SecurityContext)
	}
	if *pod.AutomountServiceAccountToken || pod.ServiceAccountName != "postern-audit-maintenance" || pod.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("%+v", pod)
	}
	if len(pod.Volumes) != 1 || pod.Volumes[0].Secret.SecretName != "owner" || len(c.VolumeMounts) != 1 {
		t.Errorf("it mounts %+v", pod.Volumes)
	}
	egress := fmt.Sprint(at(t, objects, "NetworkPolicy", "postern-audit-maintenance", "spec", "egress"))
	if !strings.Contains(egress, "port:5432 ") || strings.Contains(egress, "6379") {
		t.Errorf("egress: %s", egress)
	}
	if got := at(t, objects, "CronJob", "postern-audit-maintenance", "spec", "concurrencyPolicy"); got != "Forbid" {
		t.Errorf("concurrencyPolicy: %v", got)
	}
	// With accounts of Vault there is a token for it, and no Secret.
	pod = podSpecs(t, decode(t, run(t, "helm", maintenanceArgs("audit.maintenance.credentials.vault.path=database/creds/owner", "vault.address=https://vault:8200",
		"vault.auth.kubernetes.role=postern", "audit.vaultRole=writer", "audit.maintenance.vaultRole=owner")...)))[maintenanceJob].Spec
	env := fmt.Sprint(pod.Containers[0].Env)
	if len(pod.Volumes) != 1 || pod.Volumes[0].Projected == nil || !strings.Contains(env, `"role":"owner"`) || !strings.Contains(env, `"vaultPath":"database/creds/owner"`) {
		t.Errorf("%+v, %s", pod.Volumes, env)
	}
}

// TestMaintenanceRuns: the command takes what the chart renders, and maintains a real database.
func TestMaintenanceRuns(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "audit")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../cmd/audit").CombinedOutput(); err != nil {
		t.Fatalf("building the command: %v: %s", err, out)
	}
	server := postgrestest.Start(t, postgrestest.Options{})
	db := auditsqltest.New(t, server)
	user, password := server.User(t, "postern_audit_owner")
	secrets := t.TempDir()
	for key, value := range map[string]string{"user": user, "password": password} {
		if err := os.MkdirAll(filepath.Join(secrets, "owner"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(secrets, "owner", key), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := podSpecs(t, decode(t, run(t, "helm", maintenanceArgs(append(slices.Clone(maintenanceLogin), "defaultClass.database.address="+server.Addr, "defaultClass.database.name="+db.Name,
		"defaultClass.database.tls.mode=Disable", "audit.maintenance.retentions={30,400}", "audit.maintenance.monthsAhead=1")...)...)))[maintenanceJob].Spec.Containers[0]
	for _, want := range []string{`"made":6,`, `"made":0,`} {
		cmd := exec.CommandContext(t.Context(), binary, c.Args...)
		cmd.Env = []string{"POSTERN_SECRETS_DIR=" + secrets}
		for _, e := range c.Env {
			cmd.Env = append(cmd.Env, e.Name+"="+e.Value)
		}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %s; want %s", err, out, want)
		}
	}
}

func TestMaintenanceRejectsWrongValues(t *testing.T) {
	user := strings.Join(maintenanceLogin[:2], ",")
	all := strings.Join(maintenanceLogin, ",")
	for set, want := range map[string]string{
		"audit.maintenance.schedule=":      "does not match pattern",
		user:                               "audit.maintenance.credentials needs vault, or userRef and passwordRef",
		"audit.maintenance.retentions={0}": "minimum",
		all + ",audit.maintenance.credentials.vault.path=database/creds/a": "not both",
		all + ",defaultClass.database.name=":                               "audit.maintenance.enabled needs a database",
		all + ",audit.maintenance.monthsAhead=25":                          "maximum",
		all + ",audit.maintenance.role=x":                                  "additional properties 'role' not allowed",
		all + ",audit.maintenance.serviceAccount.create=false":             "needs audit.maintenance.serviceAccount.name",
		"audit.maintenance.credentials.vault.path=database/creds/a":        "set vault.address",
	} {
		out, err := exec.CommandContext(t.Context(), "helm", maintenanceArgs(set)...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, want %q: %.300s", set, err, want, out)
		}
	}
}
