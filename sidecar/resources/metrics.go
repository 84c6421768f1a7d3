package resources

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/audit/trail"
	"github.com/posterndev/postern/sidecar/keys/certificate"
	"github.com/posterndev/postern/sidecar/keys/vault"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/stages/accesslog"
	"github.com/posterndev/postern/sidecar/stages/authn"
	"github.com/posterndev/postern/sidecar/stages/loginprotection"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight"
	"github.com/posterndev/postern/sidecar/store/postgres"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/telemetry"
	"github.com/posterndev/postern/sidecar/usage"
)

// Metrics are registered once for the process, because a name can be registered only once.
type Metrics struct {
	// Requests counts requests, Verified the tokens that were presented, and Issued those that were issued.
	Requests *accesslog.Metrics
	Verified *authn.Metrics
	Issued   *token.Metrics
	// Logins counts attempts on protected login routes.
	Logins *loginprotection.Metrics
	// Usage counts requests by pattern, failed logins, and the accounts and addresses with the most failures.
	Usage *usage.Usage
	// Limits counts the charges of rate limits whose cost comes from the response.
	Limits *ratelimit.Metrics

	inFlight   *inflight.Metrics
	redis      *redis.Metrics
	vault      *vault.Metrics
	revocation *revocation.Metrics
	audit      *trail.Metrics
	database   *postgres.Metrics
	telemetry  *telemetry.Metrics
	// certificates are registered by New.
	certificates *certificate.Metrics
}

func newMetrics(r prometheus.Registerer, now func() time.Time) (m Metrics, err error) {
	if m.Requests, err = accesslog.NewMetrics(r); err != nil {
		return m, fmt.Errorf("registering request metrics: %w", err)
	}
	if m.Verified, err = authn.NewMetrics(r); err != nil {
		return m, fmt.Errorf("registering token metrics: %w", err)
	}
	if m.Logins, err = loginprotection.NewMetrics(r); err != nil {
		return m, err
	}
	if m.Limits, err = ratelimit.NewMetrics(r); err != nil {
		return m, err
	}
	if m.inFlight, err = inflight.NewMetrics(r); err != nil {
		return m, err
	}
	if m.redis, err = redis.NewMetrics(r); err != nil {
		return m, fmt.Errorf("registering state metrics: %w", err)
	}
	if m.vault, err = vault.NewMetrics(r); err != nil {
		return m, fmt.Errorf("registering Vault metrics: %w", err)
	}
	if m.revocation, err = revocation.NewMetrics(r); err != nil {
		return m, err
	}
	if m.audit, err = trail.NewMetrics(r); err != nil {
		return m, err
	}
	if m.database, err = postgres.NewMetrics(r); err != nil {
		return m, fmt.Errorf("registering database metrics: %w", err)
	}
	if m.Usage, err = usage.New(usage.Config{Reasons: loginprotection.Reasons(), Now: now}, r); err != nil {
		return m, err
	}
	if m.telemetry, err = telemetry.NewMetrics(r); err != nil {
		return m, err
	}
	m.Issued, err = token.NewMetrics(r)
	return m, err
}
