package monitoring

import (
	"fmt"
	"net/http"
	"sync/atomic"
)

// exporter has the metrics that need a cluster, a Vault or a trail: those of an operator, and of a sidecar of another policy. They are good or
// bad.
type exporter struct {
	bad, down atomic.Bool
	// scrapes counts, so that counters increase while they are bad.
	faults atomic.Int64
}

const other = `namespace="bank",policy="accounts",pod="b"`

// ServeHTTP writes the metrics.
func (e *exporter) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	bad := e.bad.Load()
	if e.down.Load() {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if bad {
		e.faults.Add(1)
	}
	gauge := func(series string, good, isBad float64) {
		if bad {
			good = isBad
		}
		fmt.Fprintf(w, "%s %v\n", series, good)
	}
	count := func(series string) { fmt.Fprintf(w, "%s %d\n", series, e.faults.Load()) }
	of := func(name, labels string) string { return name + "{" + other + labels + "}" }
	count(`postern_injections_total{result="failed"}`)
	count(`postern_injections_total{result="refused"}`)
	count(`controller_runtime_reconcile_errors_total{controller="policy"}`)
	count(`postern_reviews_refused_total{reason="size"}`)
	gauge(`postern_operator_polls_held`, 2, 1)
	gauge(`postern_webhook_configured`, 1, 0)
	gauge(`postern_refused_pods{namespace="bank"}`, 0, 3)
	gauge(`postern_operator_missing_right{right="get pods"}`, 0, 1)
	gauge(`postern_operator_certificate_expiry_timestamp_seconds{certificate="serving"}`, 1e11, 1)
	status, reasons := "True", []string{"Enforced"}
	if bad {
		status, reasons = "False", []string{"PodsWithoutSidecar", "PodsOutdated"}
	}
	for i, reason := range reasons {
		fmt.Fprintf(w, "postern_policy_condition{namespace=\"bank\",policy=\"accounts%d\",condition=\"Enforced\",status=%q,reason=%q} 1\n", i, status, reason)
	}
	gauge(of("postern_reachable_around", ""), 0, 1)
	gauge(of("postern_audit_spool_bytes", ""), 10, 95)
	gauge(of("postern_audit_spool_limit_bytes", ""), 100, 100)
	count(of("postern_audit_dropped_total", ""))
	count(of("postern_audit_checkpoint_failures_total", ""))
	count(of("postern_audit_delivered_total", `,sink="Log"`))
	gauge(of("postern_state_evicts", ""), 0, 1)
	count(of("postern_state_requests_total", `,result="refused"`))
	count(of("postern_revocation_index_fallbacks_total", ""))
	gauge(of("postern_vault_state", `,state="sealed"`), 0, 1)
	gauge(of("postern_vault_secret_ready", `,path="kv/a",version="0"`), 1, 0)
	gauge(of("postern_vault_secret_age_seconds", `,path="kv/a",version="0"`), 1, 900)
	gauge(of("postern_tls_certificate_not_before_seconds", `,certificate="secret/tls"`), 0, 0)
	gauge(of("postern_tls_certificate_not_after_seconds", `,certificate="secret/tls"`), 1e11, 1)
	count(of("postern_connections_closed_total", `,reason="max",state="idle"`))
	count(of("postern_http_panics_total", ""))
}
