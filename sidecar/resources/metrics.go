package resources

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/keys/vault"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/stages/accesslog"
	"github.com/posterndev/postern/sidecar/stages/authn"
	"github.com/posterndev/postern/sidecar/stages/loginprotection"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/telemetry"
)

// Metrics are registered once for the process, because a name can be registered only once.
type Metrics struct {
	// Requests counts requests, Verified the tokens that were presented, and Issued those that were issued.
	Requests *accesslog.Metrics
	Verified *authn.Metrics
	Issued   *token.Metrics
	// Logins counts attempts on protected login routes.
	Logins *loginprotection.Metrics
	// Limits counts the charges of rate limits whose cost comes from the response.
	Limits *ratelimit.Metrics

	inFlight   *inflight.Metrics
	redis      *redis.Metrics
	vault      *vault.Metrics
	revocation *revocation.Metrics
	telemetry  *telemetry.Metrics
}

func newMetrics(r prometheus.Registerer) (m Metrics, err error) {
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
	if m.telemetry, err = telemetry.NewMetrics(r); err != nil {
		return m, err
	}
	m.Issued, err = token.NewMetrics(r)
	return m, err
}
