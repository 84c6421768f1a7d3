package charts

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// gauge is a series that is fine for an hour, bad for two, and fine again for two.
func gauge(series string, fine, bad any) string {
	return fmt.Sprintf(`{series: '%s', values: '%vx59 %vx119 %vx120'}`, series, fine, bad, fine)
}

// counter is a series that increases each minute by fine, then by bad, and then by fine.
func counter(series string, fine, bad int) string {
	return fmt.Sprintf(`{series: '%s', values: '0+%dx59 %d+%dx119 %d+%dx120'}`, series, fine, 60*fine, bad, 60*fine+120*bad, fine)
}

// TestAlertsFireAndResolve runs the rules as they are, with promtool: no alert fires before a fault, each fires two hours later and
// alone, and resolves after the fault has ended.
func TestAlertsFireAndResolve(t *testing.T) {
	const of = `namespace="shop",policy="orders",pod="a"`
	with := func(name, labels string) string { return name + "{" + of + "," + labels + "}" }
	tests := map[string][]string{
		"PosternOperatorDown":        {gauge(`up{service="postern-operator-metrics"}`, 1, 0)},
		"PosternInjectionFails":      {counter(`postern_injections_total{result="failed"}`, 0, 1)},
		"PosternWebhookMissing":      {gauge(`postern_webhook_configured`, 1, 0)},
		"PosternPodsRefused":         {counter(`postern_injections_total{result="refused"}`, 0, 1)},
		"PosternPodsMissing":         {gauge(`postern_refused_pods{namespace="shop"}`, 0, 2)},
		"PosternReconcileFails":      {counter(`controller_runtime_reconcile_errors_total{service="postern-operator-metrics",controller="policy"}`, 0, 1)},
		"PosternOperatorMissesRight": {gauge(`postern_operator_missing_right{right="get pods"}`, 0, 1)},
		"PosternReviewsRefused":      {counter(`postern_reviews_refused_total{reason="size"}`, 0, 1)},
		"PosternPodsUnguarded":       {gauge(with("postern_policy_condition", `condition="Enforced",status="False",reason="PodsWithoutSidecar"`), "_", 1)},
		"PosternNotEnforced":         {gauge(with("postern_policy_condition", `condition="Enforced",status="False",reason="PodsOutdated"`), "_", 1)},
		"PosternCertificateEnds":     {gauge(`postern_operator_certificate_expiry_timestamp_seconds{certificate="serving"}`, 60*24*3600, 10*24*3600)},
		"PosternCredentialStuffing": {
			counter(with("postern_failed_logins_total", `route="login",reason="wrong_password"`), 1, 600), counter(with("postern_login_attempts_total", `route="login",result="failure"`), 1, 600),
			counter(with("postern_login_attempts_total", `route="login",result="success"`), 300, 100),
		},
		"PosternReachableAround":   {gauge(with("postern_reachable_around", `x=""`), 0, 1)},
		"PosternAuditSpoolFilling": {gauge(with("postern_audit_spool_bytes", `x=""`), 100, 900), gauge(with("postern_audit_spool_limit_bytes", `x=""`), 1000, 1000)},
		"PosternAuditDropped":      {counter(with("postern_audit_dropped_total", `x=""`), 0, 3)},
		"PosternAuditUnsigned":     {counter(with("postern_audit_checkpoint_failures_total", `x=""`), 0, 1)},
		"PosternTLSCertificateExpiring": {
			gauge(with("postern_tls_certificate_not_before_seconds", `certificate="secret/a"`), 0, 0), gauge(with("postern_tls_certificate_not_after_seconds", `certificate="secret/a"`), 10*24*3600, 3600),
		},
		"PosternKeysAgeing":          {gauge(with("postern_jwks_age_seconds", `provider="corp"`), 300, 50000), gauge(with("postern_jwks_max_stale_seconds", `provider="corp"`), 86400, 86400)},
		"PosternKeysMissing":         {gauge(with("postern_jwks_ready", `provider="corp"`), 1, 0)},
		"PosternKeysNotRefreshed":    {counter(with("postern_jwks_fetches_total", `provider="corp",result="error"`), 0, 1), counter(with("postern_jwks_fetches_total", `provider="corp",result="ok"`), 1, 0)},
		"PosternRedisDown":           {gauge(with("postern_state_up", `x=""`), 1, 0)},
		"PosternRedisEvicts":         {gauge(with("postern_state_evicts", `x=""`), 0, 1)},
		"PosternRedisRefuses":        {counter(with("postern_state_requests_total", `result="refused"`), 0, 1)},
		"PosternRevocationsStale":    {gauge(with("postern_revocation_index_age_seconds", `x=""`), 1, 60)},
		"PosternRevocationIndexFull": {counter(with("postern_revocation_index_fallbacks_total", `x=""`), 0, 1)},
		"PosternRefreshTokenReused":  {counter(with("postern_token_events_total", `event="refresh",result="reused"`), 0, 1)},
		"PosternLoginsUnavailable":   {counter(with("postern_token_events_total", `event="login",result="tokens-unavailable"`), 0, 1)},
		"PosternVaultNotServing":     {gauge(with("postern_vault_state", `state="sealed"`), 0, 1)},
		"PosternVaultSecretMissing":  {gauge(with("postern_vault_secret_ready", `path="kv/x",version="0"`), 1, 0)},
		"PosternTokensMostlyRefused": {counter(with("postern_tokens_verified_total", `result="ok"`), 200, 60), counter(with("postern_tokens_verified_total", `result="expired"`), 1, 200)},
		"PosternTooManyConnections":  {counter(with("postern_connections_closed_total", `reason="max"`), 0, 1)},
		"PosternSidecarPanics":       {counter(with("postern_http_panics_total", `x=""`), 0, 1)},
	}
	var text strings.Builder
	text.WriteString("rule_files: [rules.yaml]\nevaluation_interval: 1m\ntests:\n")
	for _, a := range rulesOf(t) {
		series, ok := tests[a.Alert]
		if !ok {
			t.Errorf("no test makes %s fire", a.Alert)
		}
		fmt.Fprintf(&text, "- name: %s\n  interval: 1m\n  input_series:\n", a.Alert)
		for _, s := range series {
			text.WriteString("  - " + s + "\n")
		}
		if a.Alert != "PosternOperatorDown" {
			text.WriteString("  - {series: 'up{service=\"postern-operator-metrics\"}', values: '1x300'}\n")
		}
		text.WriteString("  promql_expr_test:\n")
		for at, firing := range map[string]int{"55m": 0, "175m": 1, "290m": 0} {
			fmt.Fprintf(&text, "  - {expr: 'count(ALERTS{alertname=\"%s\",alertstate=\"firing\"}) or vector(0)', eval_time: %s, exp_samples: [{value: %d}]}\n", a.Alert, at, firing)
			fmt.Fprintf(&text, "  - {expr: 'count(ALERTS{alertname!=\"%s\",alertstate=\"firing\"}) or vector(0)', eval_time: %s, exp_samples: [{value: 0}]}\n", a.Alert, at)
		}
	}
	dir := t.TempDir()
	writeRules(t, filepath.Join(dir, "rules.yaml"))
	if err := os.WriteFile(filepath.Join(dir, "test.yaml"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("promtool", "test", "rules", "test.yaml")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool (hack/cluster/packages.sh installs it): %v\n%s", err, out)
	}
	if out, err := exec.Command("promtool", "check", "rules", filepath.Join(dir, "rules.yaml")).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// writeRules writes the rules of the chart as a file for Prometheus.
func writeRules(t *testing.T, path string, values ...string) {
	t.Helper()
	b, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "postern", "rules": rawRules(t, values...)}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
