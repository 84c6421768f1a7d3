package charts

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestChartLints lints the chart with its defaults and with each file of values that CI uses.
func TestChartLints(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(chart, "ci", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files of values, %v", len(files), err)
	}
	run(t, "helm", "lint", "--strict", "--quiet", chart)
	for _, file := range files {
		run(t, "helm", "lint", "--strict", "--quiet", chart, "--values", file)
	}
}

// TestOldestKubernetes renders for the oldest version that is supported, which has no sleep hook.
func TestOldestKubernetes(t *testing.T) {
	objects := decode(t, run(t, "helm", "template", release, chart, "--kube-version", "1.29.0"))
	find(t, objects, "Deployment", "postern-operator")
	for _, file := range []string{"platform.yaml", "openshift.yaml"} {
		objects = decode(t, run(t, "helm", "template", release, chart, "--kube-version", "1.29.0", "--values", filepath.Join(chart, "ci", file)))
		find(t, objects, "Deployment", "postern-operator")
	}
}

// TestRejectsWrongValues checks that the chart rejects these values with a message that says what to change.
func TestRejectsWrongValues(t *testing.T) {
	tests := []struct{ set, want string }{
		{`replica=2`, `additional properties 'replica' not allowed`},
		{`redis.url=http://redis`, `does not match pattern`},
		{`redis.url=redis://:secret@redis:6379`, `must not contain a password`},
		{`redis.url=redis://redis,redis.bundled.enabled=true`, `choose one`},
		{`redis.url=redis://redis/x`, `the path must be the database's number`},
		{`redis.url=redis://redis?db=1`, `neither a query nor a fragment`},
		{`redis.url=redis://redis,redis.mode=Cluster`, `do not set redis.mode`},
		{`redis.url=redis://redis,redis.tls.serverName=redis`, `set redis.tls.enabled`},
		{`redis.addresses={redis:1},redis.mode=Sentinel`, `redis.masterName is required for`},
		{`redis.addresses={a:1,b:1}`, `allows one address`},
		{`redis.bundled.enabled=true,redis.bundled.existingSecret=x,redis.bundled.workloadNamespaces={shop}`, `there is no Secret`},
		{`redis.url=redis://redis,redis.passwordSecret.name=a,redis.passwordRef.secretKeyRef.name=b,redis.passwordRef.secretKeyRef.key=k`, `are two ways to name one secret`},
		{`redis.url=redis://redis,redis.passwordRef.vault.path=secret/redis,redis.passwordRef.vault.key=k`, `redis.passwordRef is in Vault: set vault.address`},
		{`redis.passwordRef.vault.path=secret/redis,redis.passwordRef.vault.key=k,redis.passwordRef.secretKeyRef.name=b,redis.passwordRef.secretKeyRef.key=k`, `maxProperties`},
		{`redis.passwordRef.vault.path=secret/redis`, `missing property 'key'`},
		{`redis.url=redis://redis,redis.sentinelPasswordSecret.name=a`, `need redis.mode Sentinel`},
		{`redis.url=rediss://redis,redis.tls.keyRef.secretKeyRef.name=a,redis.tls.keyRef.secretKeyRef.key=k`, `must both be set, or neither`},
		{`redis.bundled.enabled=true,redis.passwordSecret.name=a`, `redis.bundled has its own password`},
		{`vault.auth.kubernetes.role=postern`, `set vault.address`},
		{`vault.address=https://vault`, `exactly one of kubernetes.role and appRole.roleID`},
		{`vault.address=https://vault,vault.auth.kubernetes.role=a,vault.auth.appRole.roleID=b`, `exactly one of kubernetes.role and appRole.roleID`},
		{`vault.address=https://vault,vault.auth.kubernetes.role=a,vault.auth.appRole.secretIDSecret.name=b`, `needs appRole.roleID`},
		{`vault.address=http://vault.platform.svc:8200,vault.auth.kubernetes.role=a`, `does not match pattern`},
		{`webhook.excludedNamespaces={shop}`, `must be 'kube-system'`},
		{`webhook.namespaceSelector.matchLabel.a=b`, `additional properties 'matchLabel' not allowed`},
		{`webhook.namespaceSelector.matchLabels.postern\.dev/injection=disabled`, `is always required`},
		{`webhook.namespaceSelector.matchExpressions[0].key=a`, `missing property 'operator'`},
		{`serviceAccount.create=false`, `needs serviceAccount.name`},
		{`serviceAccount.annotation.a=b`, `additional properties 'annotation' not allowed`},
		{`setup.serviceAccount.create=false`, `needs setup.serviceAccount.name`},
		{`setup.image=x`, `additional properties 'image' not allowed`},
		{`rbac.created=false`, `additional properties 'created' not allowed`},
		{`service.ipFamilies={IPv4,IPv6},service.ipFamilyPolicy=SingleStack`, `SingleStack allows one of service.ipFamilies`},
		{`service.ipFamilies={v4}`, `must be one of 'IPv4', 'IPv6'`},
		{`service.ipFamily=IPv4`, `additional properties 'ipFamily' not allowed`},
		{`commonLabels.app\.kubernetes\.io/name=x`, `choose another label`},
		{`commonLabels.rbac\.authorization\.k8s\.io/aggregate-to-view=true`, `got boolean, want string`},
		{`commonLabels.postern\.dev/injection=enabled`, `choose another label`},
		{`commonLabels.team=a b`, `does not match pattern`},
		{`operator.updateStrategy.type=OnDelete`, `must be one of 'RollingUpdate', 'Recreate'`},
		{`operator.updateStrategy.rollingUpdate.partition=1`, `additional properties 'partition' not allowed`},
		{`operator.resources.limits.ephemeralStorage=1Gi`, `does not match pattern`},
		{`operator.resources.limits.memory=512 Mi`, `does not match pattern`},
		{`test.resources.limit.memory=1Mi`, `additional properties 'limit' not allowed`},
		{`operator.extraVolumes[0].name=a`, `minProperties`},
		{`operator.extraVolumeMounts[0].name=a`, `missing property 'mountPath'`},
		{`operator.extraVolumeMounts[0].name=a,operator.extraVolumeMounts[0].mountPath=/a,operator.extraVolumeMounts[0].readonly=true`, `additional properties 'readonly' not allowed`},
		{`podSecurityContext.runAsUsers=1`, `additional properties 'runAsUsers' not allowed`},
		{`containerSecurityContext.privileged=true`, `additional properties 'privileged' not allowed`},
		{`global.imageRegistry=https://r.example`, `does not match pattern`},
		{`extraObjects[0].kind=ConfigMap`, `missing property 'apiVersion'`},
	}
	for _, tt := range tests {
		t.Run(tt.set, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), "helm", "template", release, chart, "--set", tt.set).CombinedOutput()
			if err == nil {
				t.Fatal("the chart accepts the values")
			}
			if !strings.Contains(string(out), tt.want) {
				t.Errorf("the chart says\n%s\nwant %q", out, tt.want)
			}
		})
	}
}
