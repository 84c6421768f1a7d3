package vault

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
)

func TestMetricsAreRegisteredOnce(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	if _, err := NewMetrics(registry); err != nil {
		t.Fatal(err)
	}
	if _, err := NewMetrics(registry); err == nil {
		t.Error("registered twice")
	}
}

// TestMetricsOfTwoClients follows a change of settings: a second client is opened, then the first is closed.
func TestMetricsOfTwoClients(t *testing.T) {
	t.Parallel()
	first := open(t, tokenFile(t, "reader"), nil)
	first.await(t, OK)
	second := open(t, TokenFile("/absent"), func(c *Config) { c.Metrics = first.cfg.Metrics })
	second.registry = first.registry
	second.await(t, NoCredentials)
	if got := first.gauge(t, "postern_vault_state", string(OK)); got != 0 {
		t.Errorf("the metric shows the state of the older client: %v", got)
	}
	first.Close()
	second.await(t, NoCredentials)
	if got := second.gauge(t, "postern_vault_logins_total", string(OK)); got != 1 {
		t.Errorf("logins = %v; want the login of the closed client to be counted", got)
	}
	third := open(t, tokenFile(t, "reader"), func(c *Config) { c.Metrics = first.cfg.Metrics })
	third.registry = first.registry
	third.await(t, OK)
	third.Close()
	if got := second.gauge(t, "postern_vault_state", string(NoCredentials)); got != 1 {
		t.Errorf("the metric does not show the state of the open client: %v", got)
	}
	second.Close()
	if got := second.gauge(t, "postern_vault_state", string(NoCredentials)); got != 0 {
		t.Errorf("the metric shows the state of a closed client: %v", got)
	}
}

func TestClientWithoutMetrics(t *testing.T) {
	t.Parallel()
	h := open(t, tokenFile(t, "reader"), func(c *Config) { c.Metrics = nil })
	vaulttest.Eventually(t, "a login", func() bool { return h.Status().State == OK })
}
