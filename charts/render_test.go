package charts

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/render"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/login/token"
)

// foreign matches API versions whose CRDs do not belong to Postern.
var foreign = regexp.MustCompile(`^(monitoring\.coreos\.com|cert-manager\.io)/`)

func TestServerAcceptsRenderedObjects(t *testing.T) {
	installCRDs(t)
	files, err := filepath.Glob(filepath.Join(chart, "ci", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files of values, %v", len(files), err)
	}
	sets := map[string][]string{"no values": nil}
	for _, file := range files {
		sets[filepath.Base(file)] = []string{"--values", file}
	}
	for name, args := range sets {
		t.Run(name, func(t *testing.T) {
			objects := decode(t, run(t, "helm", append([]string{"template", release, chart}, args...)...))
			for _, o := range objects {
				if !foreign.MatchString(o.GetAPIVersion()) {
					dryRun(t, o)
				}
				if o.GetKind() == "ConfigMap" && o.GetName() == "postern-setup" {
					manifest, _, _ := unstructured.NestedString(o.Object, "data", "class.yaml")
					for _, class := range decode(t, manifest) {
						dryRun(t, class)
					}
				}
			}
		})
	}
}

func TestServerAcceptsKustomizations(t *testing.T) {
	installCRDs(t)
	for _, dir := range []string{"default", "samples"} {
		for _, o := range decode(t, run(t, "kubectl", "kustomize", filepath.Join("..", "config", dir))) {
			dryRun(t, o)
		}
	}
}

func installCRDs(t *testing.T) {
	t.Helper()
	if _, err := envtest.InstallCRDs(restConfig(t), envtest.CRDInstallOptions{Paths: []string{filepath.Join("..", "config", "crd", "bases")}}); err != nil {
		t.Fatal(err)
	}
}

// dryRun makes the API server validate the object. Unknown fields are errors.
func dryRun(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	err := shared.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o.DeepCopy()), client.DryRunAll, client.ForceOwnership, client.FieldOwner("test"))
	if err != nil {
		t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
}

// TestKustomizationEqualsChart compares the objects of the operator that both install.
func TestKustomizationEqualsChart(t *testing.T) {
	fromChart := decode(t, run(t, "helm", "template", release, chart))
	fromConfig := decode(t, run(t, "kubectl", "kustomize", filepath.Join("..", "config", "default")))
	for _, path := range [][]string{
		{"CustomResourceDefinition", "securitypolicies.postern.dev", "spec"},
		{"CustomResourceDefinition", "sidecarclasses.postern.dev", "spec"},
		{"CustomResourceDefinition", "tokenrevocations.postern.dev", "spec"},
		{"ClusterRole", "postern-operator", "rules"},
		{"ClusterRole", "postern-policy-viewer", "rules"},
		{"ClusterRole", "postern-policy-editor", "rules"},
		{"ClusterRole", "postern-token-revoker", "rules"},
		{"Role", "postern-operator", "rules"},
		{"ClusterRoleBinding", "postern-operator", "subjects"},
		{"RoleBinding", "postern-operator", "subjects"},
		{"ServiceAccount", "postern-operator", "automountServiceAccountToken"},
		{"Secret", "postern-certs", "data"},
		{"Secret", "postern-signing-key", "data"},
		{"MutatingWebhookConfiguration", "postern", "webhooks"},
		{"ValidatingWebhookConfiguration", "postern", "webhooks"},
		{"Service", "postern-operator", "spec", "ports"},
		{"Service", "postern-operator-metrics", "spec", "ports"},
		{"PodDisruptionBudget", "postern-operator", "spec", "minAvailable"},
		{"NetworkPolicy", "postern-operator", "spec", "ingress"},
		{"NetworkPolicy", "postern-operator", "spec", "egress"},
		{"Deployment", "postern-operator", "spec", "strategy"},
		{"Deployment", "postern-operator", "spec", "template", "spec", "containers"},
		{"Deployment", "postern-operator", "spec", "template", "spec", "securityContext"},
	} {
		t.Run(path[0]+" "+path[1]+" "+path[len(path)-1], func(t *testing.T) {
			chartHas, chartFound, _ := unstructured.NestedFieldNoCopy(find(t, fromChart, path[0], path[1]).Object, path[2:]...)
			configHas, configFound, _ := unstructured.NestedFieldNoCopy(find(t, fromConfig, path[0], path[1]).Object, path[2:]...)
			if chartFound != configFound || !reflect.DeepEqual(chartHas, configHas) {
				t.Errorf("the chart has %v, config/default has %v", chartHas, configHas)
			}
		})
	}
}

// TestValidationCanBeDisabled checks that without validation there is no webhook configuration, and that the operator does not look
// for one.
func TestValidationCanBeDisabled(t *testing.T) {
	const flag = "--validating-webhook-configuration=postern"
	for name, tt := range map[string]struct {
		args []string
		want bool
	}{
		"default":  {nil, true},
		"disabled": {[]string{"--set", "webhook.validation.enabled=false"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			objects := decode(t, run(t, "helm", append([]string{"template", release, chart}, tt.args...)...))
			webhook := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == "ValidatingWebhookConfiguration" })
			if (webhook >= 0) != tt.want {
				t.Errorf("the configuration exists: %t", webhook >= 0)
			}
			containers, _, err := unstructured.NestedSlice(find(t, objects, "Deployment", "postern-operator").Object, "spec", "template", "spec", "containers")
			if err != nil {
				t.Fatal(err)
			}
			args, _, err := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
			if err != nil || slices.Contains(args, flag) != tt.want {
				t.Errorf("the operator's flags are %q, %v", args, err)
			}
			if !tt.want {
				return
			}
			entries, _, err := unstructured.NestedSlice(objects[webhook].Object, "webhooks")
			if policy := entries[0].(map[string]any)["failurePolicy"]; err != nil || policy != "Ignore" {
				t.Errorf("an operator that is down blocks objects: failurePolicy is %v, %v", policy, err)
			}
		})
	}
}

// TestClassNamesSecrets checks that the values of Vault and of Redis's secrets are in the class, and that the class compiles.
func TestClassNamesSecrets(t *testing.T) {
	inVault := func(path, key string) *compiled.SecretRef { return &compiled.SecretRef{VaultPath: path, Key: key} }
	in := func(name, key string) *compiled.SecretRef { return &compiled.SecretRef{Name: name, Key: key} }
	for name, tt := range map[string]struct {
		args []string
		// wantSecrets are the secrets of Redis, then those of Vault.
		wantSecrets []compiled.SecretRef
		wantVault   *compiled.VaultKubernetes
	}{
		"nothing":        {},
		"the short form": {args: []string{"redis.url=redis://redis", "redis.passwordSecret.name=redis"}, wantSecrets: []compiled.SecretRef{*in("redis", "password")}},
		"the long form": {args: []string{"redis.url=redis://redis", "redis.passwordRef.secretKeyRef.name=redis", "redis.passwordRef.secretKeyRef.key=k"},
			wantSecrets: []compiled.SecretRef{*in("redis", "k")}},
		"Vault": {args: []string{"redis.url=redis://redis", "redis.passwordRef.vault.path=secret/redis", "redis.passwordRef.vault.key=k",
			"vault.address=https://vault", "vault.auth.kubernetes.role=yes"},
			wantSecrets: []compiled.SecretRef{*inVault("secret/redis", "k")},
			wantVault:   &compiled.VaultKubernetes{Mount: "kubernetes", Role: "yes", Audience: "vault"}},
		"AppRole": {args: []string{"redis.url=redis://redis", "redis.passwordRef.vault.path=secret/redis", "redis.passwordRef.vault.key=k",
			"vault.address=https://vault", "vault.auth.appRole.roleID=r", "vault.auth.appRole.secretIDSecret.name=vault"},
			wantSecrets: []compiled.SecretRef{*inVault("secret/redis", "k"), *in("vault", "secret-id")}},
		"a Vault that nothing uses": {args: []string{"vault.address=https://vault", "vault.auth.kubernetes.role=r"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"template", release, chart}
			for _, arg := range tt.args {
				args = append(args, "--set-string", arg)
			}
			p := compileUnder(t, classOf(t, run(t, "helm", args...)))
			if got := p.SecretRefs(); !slices.Equal(got, tt.wantSecrets) {
				t.Errorf("it names the secrets %v, want %v", got, tt.wantSecrets)
			}
			var got *compiled.VaultKubernetes
			if p.Vault != nil {
				got = p.Vault.Kubernetes
			}
			if !reflect.DeepEqual(got, tt.wantVault) {
				t.Errorf("it logs in to Vault by %v, want %v", got, tt.wantVault)
			}
		})
	}
}

// classOf returns the SidecarClass that the chart applies.
func classOf(t *testing.T, rendered string) *v1alpha1.SidecarClass {
	t.Helper()
	manifest, _, _ := unstructured.NestedString(find(t, decode(t, rendered), "ConfigMap", "postern-setup").Object, "data", "class.yaml")
	class := &v1alpha1.SidecarClass{}
	if err := yaml.UnmarshalStrict([]byte(manifest), class); err != nil {
		t.Fatal(err)
	}
	return class
}

func compileUnder(t *testing.T, class *v1alpha1.SidecarClass) *compiled.Policy {
	t.Helper()
	p, findings := compile.Compile(&v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"}}, class)
	if compile.HasErrors(findings) {
		t.Fatalf("it does not compile: %v", findings)
	}
	return p
}

// TestValuesAgainstServer checks values that the chart compares with the objects of the cluster.
func TestValuesAgainstServer(t *testing.T) {
	for name, tt := range map[string]struct{ set, want string }{
		"tests in the release's namespace":     {"test.namespace=" + namespace, "cannot be used"},
		"tests in an excluded namespace":       {"test.namespace=kube-system", "cannot be used"},
		"tests in a namespace with contents":   {"test.namespace=shop", "would delete it"},
		"null for the excluded namespaces":     {"webhook.excludedNamespaces=null", ""},
		"a class with a YAML word for name":    {"defaultClass.name=yes", ""},
		"tests in an earlier test's namespace": {"test.namespace=postern-test", ""},
	} {
		t.Run(name, func(t *testing.T) {
			// lookup needs a server.
			cmd := exec.CommandContext(t.Context(), "helm", "template", release, chart, "--dry-run=server", "--set", "crds.install=false", "--set-string", tt.set)
			if strings.HasSuffix(tt.set, "=null") {
				cmd.Args[len(cmd.Args)-2] = "--set"
			}
			cmd.Env = append(os.Environ(), "KUBECONFIG="+shared.kubeconfig, "HELM_NAMESPACE="+namespace)
			out, err := cmd.CombinedOutput()
			if (err != nil) != (tt.want != "") || !strings.Contains(string(out), tt.want) {
				t.Fatalf("got %v, want %q: %.300s", err, tt.want, out)
			}
			if err == nil && strings.Contains(string(out), "name: yes\n") {
				t.Error("the name is rendered as a boolean")
			}
			if err == nil && !strings.Contains(string(out), "--excluded-namespaces=kube-system,kube-node-lease,kube-public,"+namespace) {
				t.Error("kube-system is not excluded")
			}
		})
	}
}

// TestPodMonitorFindsSidecars checks that the PodMonitor uses the container name and the port of sidecars.
func TestPodMonitorFindsSidecars(t *testing.T) {
	monitor := find(t, decode(t, run(t, "helm", "template", release, chart, "--set", "metrics.podMonitor.enabled=true")), "PodMonitor", "postern-sidecars")
	endpoints, _, err := unstructured.NestedSlice(monitor.Object, "spec", "podMetricsEndpoints")
	if err != nil || len(endpoints) != 1 {
		t.Fatalf("the endpoints are %v, %v", endpoints, err)
	}
	relabelings, _, _ := unstructured.NestedSlice(endpoints[0].(map[string]any), "relabelings")
	kept, ported := false, false
	for _, r := range relabelings {
		rule := r.(map[string]any)
		kept = kept || rule["action"] == "keep" && rule["regex"] == render.SidecarName
		ported = ported || rule["replacement"] == fmt.Sprintf("$1:%d", compiled.AdminPort)
	}
	if !kept || !ported {
		t.Errorf("it does not scrape port %d of the containers %q: %v", compiled.AdminPort, render.SidecarName, relabelings)
	}
}

// TestMetricsExist checks that alerts and dashboard use only metrics that the code has.
func TestMetricsExist(t *testing.T) {
	var code strings.Builder
	for _, dir := range []string{"sidecar", "controllers"} {
		err := filepath.WalkDir(filepath.Join("..", dir), func(path string, _ os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			code.Write(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"alerts.yaml", "dashboards/overview.json", "dashboards/security.json", "dashboards/policy.json"} {
		b, err := os.ReadFile(filepath.Join(chart, "files", file))
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`postern_[a-z_]+`).FindAllString(string(b), -1)
		if len(names) == 0 {
			t.Errorf("%s names no metric", file)
		}
		for _, name := range names {
			if !strings.Contains(code.String(), `"`+strings.TrimSuffix(name, "_bucket")+`"`) {
				t.Errorf("%s: no code has the metric %s", file, name)
			}
		}
	}
}

// TestEventLabelsExist checks that alerts and dashboard select only values of the label event that the code can write.
func TestEventLabelsExist(t *testing.T) {
	metrics, err := token.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]bool{}
	for kind := event.Kind(0); kind.String() != "unknown"; kind++ {
		if metrics.Kinds().Has(kind) {
			labels[token.Label(event.Event{Kind: kind})] = true
		}
	}
	selector := regexp.MustCompile(`\bevent(=~|!~|!=|=)\\?"([^"\\]*)`)
	for _, file := range []string{"alerts.yaml", "dashboards/overview.json", "dashboards/security.json", "dashboards/policy.json"} {
		b, err := os.ReadFile(filepath.Join(chart, "files", file))
		if err != nil {
			t.Fatal(err)
		}
		selectors := selector.FindAllStringSubmatch(string(b), -1)
		if len(selectors) == 0 && file != "dashboards/policy.json" {
			t.Errorf("%s has no selector of the label event", file)
		}
		for _, s := range selectors {
			for label := range strings.SplitSeq(s[2], "|") {
				if !labels[label] {
					t.Errorf("%s: %s%q: no code writes the value %q, only %q", file, "event"+s[1], s[2], label, slices.Sorted(maps.Keys(labels)))
				}
			}
		}
	}
}

// TestReuseAlertSeesFirstEvent checks the alert on the first event of a sidecar: the series does not exist before that event, so
// increase() does not count it.
func TestReuseAlertSeesFirstEvent(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(chart, "files", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "PosternRefreshTokenReused" && !regexp.MustCompile(`(?s)reused"} unless postern_token_events_total{[^}]*reused"} offset 15m`).MatchString(rule.Expr) {
				t.Errorf("%s misses the first event of a sidecar: %s", rule.Alert, rule.Expr)
			}
		}
	}
}
