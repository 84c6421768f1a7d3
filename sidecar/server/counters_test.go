package server

import (
	"log/slog"
	"regexp"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	http1 "github.com/posterndev/postern/sidecar/conn/http1/server"
	"github.com/posterndev/postern/sidecar/conn/listen"
)

// openLabels are the metrics without a series before the first event, with the reason.
var openLabels = map[string]string{
	"postern_http_requests_total":                         "a series for each port, method and status, of which most never occur",
	"postern_http_request_duration_seconds":               "a series for each port of the policy, created with the policy",
	"postern_route_requests_total":                        "a series for each pattern, method and class of status that occurred",
	"postern_failed_logins_total":                         "a series for each route of the policy, created with the policy",
	"postern_password_reset_requests_total":               "a series for each route of the policy, created with the policy",
	"postern_http_request_overhead_seconds":               "a series for each port of the policy, created with the policy",
	"postern_http_request_app_seconds":                    "a series for each port of the policy, created with the policy",
	"postern_http_response_bytes_total":                   "a series for each port of the policy, created with the policy",
	"postern_decisions_total":                             "a series for each rule and code of the policy",
	"postern_tokens_verified_total":                       "a series for each provider, reason and claim of the policy",
	"postern_tls_certificate_rotations_total":             "a series for each certificate of the policy, created with the policy",
	"postern_tls_certificate_loaded_seconds":              "a series for each certificate of the policy, created with the policy",
	"postern_tls_certificate_not_before_seconds":          "a series for each certificate of the policy, created with the policy",
	"postern_tls_certificate_not_after_seconds":           "a series for each certificate of the policy, created with the policy",
	"postern_jwks_fetches_total":                          "a series for each provider, created with the provider",
	"postern_login_attempts_total":                        "a series for each route of the policy, created with the policy",
	"postern_login_refused_total":                         "a series for each route of the policy, created with the policy",
	"postern_login_breached_passwords_total":              "a series for each route of the policy, created with the policy",
	"postern_sidecar_api_key_requests_total":              "a series for each key of the policy's file",
	"postern_audit_delivered_total":                       "a series for each sink of the policy, created with the trail",
	"postern_audit_delivery_failures_total":               "a series for each sink of the policy, created with the trail",
	"postern_audit_refused_total":                         "a series for each sink of the policy, created with the trail",
	"postern_sidecar_api_key_last_used_timestamp_seconds": "a series for each key that was used",
}

// TestCountersStartAtZero: increase() and rate() do not count the event that creates a series, so an alert would miss the first one.
// Every metric of the registry has its series from the start, except for those whose labels come from the policy.
func TestCountersStartAtZero(t *testing.T) {
	s, err := newSidecar(Config{
		Inbound: plain{address: "127.0.0.1:0", app: "127.0.0.1:1"}, Level: &slog.LevelVar{}, Logger: slog.New(slog.DiscardHandler), SecretsDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	gathered := map[string]*dto.MetricFamily{}
	for _, f := range families {
		gathered[f.GetName()] = f
	}
	described := describedBy(s.registry)
	if len(described) < 30 {
		t.Fatalf("found %d metrics only", len(described))
	}
	for name := range described {
		if own := regexp.MustCompile("^postern_").MatchString(name); own && gathered[name] == nil && openLabels[name] == "" && !stateOfPolicy.MatchString(name) {
			t.Errorf("%s has no series before its first event", name)
		}
	}
	for name, want := range map[string]int{
		"postern_connections_refused_total": len(listen.Refusals()), "postern_framing_refusals_total": len(unique(http1.Codes())),
		"postern_tcp_connections_total": 6, "postern_admin_connections_closed_total": 4, "postern_revocation_index_loads_total": 2,
		"postern_vault_requests_total": 10, "postern_vault_logins_total": 10, "postern_vault_renewals_total": 10,
		"postern_token_events_total": 33, "postern_overload_refusals_total": 12, "postern_connections_closed_total": 9,
	} {
		if got := len(gathered[name].GetMetric()); got != want {
			t.Errorf("%s has %d series, want %d", name, got, want)
		}
	}
}

// stateOfPolicy matches gauges of what a policy or a class configures, which have no value without it.
var stateOfPolicy = regexp.MustCompile(`^postern_(jwks|vault|policy|document|audit)_(spool_bytes|spool_limit_bytes|pending_items|info|revision|fetch_duration_seconds|max_stale_seconds|keys|dropped_keys|age_seconds|ready|state|token_expiry_seconds|secret_ready|secret_age_seconds)$`)

func unique[T ~string](list []T) []T { return slices.Compact(slices.Sorted(slices.Values(list))) }

var descName = regexp.MustCompile(`fqName: "([^"]+)"`)

// describedBy returns the names of all metrics of a registry, also of those without a series.
func describedBy(r *prometheus.Registry) map[string]bool {
	ch := make(chan *prometheus.Desc)
	go func() {
		r.Describe(ch)
		close(ch)
	}()
	names := map[string]bool{}
	for d := range ch {
		names[descName.FindStringSubmatch(d.String())[1]] = true
	}
	return names
}
