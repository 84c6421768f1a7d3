package resources

import (
	"fmt"

	"go.opentelemetry.io/otel/trace"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/span"
	"github.com/posterndev/postern/sidecar/telemetry"
)

// Tracer returns what makes spans; nil if the policy exports none. Documents with the same collector share one exporter.
func (a *Acquirer) Tracer() (trace.Tracer, error) {
	if !a.policy.ExportsOTLP() || a.policy.Deleted {
		return nil, nil
	}
	o := a.policy.Telemetry.OTLP
	name, err := named(o, a.vaultOfOTLP(o), a.scope())
	if err != nil {
		return nil, err
	}
	traces, release, err := a.shared.traces.Acquire(name, a.user, func() (*telemetry.Traces, func(), error) { return a.openTraces(o) })
	if err != nil {
		return nil, fmt.Errorf("telemetry.otlp: %w", err)
	}
	a.onClose(release)
	return traces.Tracer(span.Tracer), nil
}

func (a *Acquirer) openTraces(o *compiled.OTLP) (*telemetry.Traces, func(), error) {
	own := a.nested()
	endpoint, err := own.endpoint(o)
	if err != nil {
		own.Close()
		return nil, nil, err
	}
	traces, err := telemetry.NewTraces(telemetry.Config{
		Endpoint: endpoint, Identity: own.identity(), SampleRatio: o.SampleRatio, Metrics: a.shared.metrics.telemetry, Logger: a.shared.cfg.Logger,
	})
	if err != nil {
		own.Close()
		return nil, nil, err
	}
	return traces, func() {
		traces.Close()
		own.Close()
	}, nil
}

// Logs returns what exports log records to the collector of the class. Documents with the same collector share it. It is an error if the
// class has no collector.
func (a *Acquirer) Logs() (*telemetry.Logs, error) {
	if !a.policy.ExportsOTLP() {
		return nil, fmt.Errorf("telemetry.otlp: the class has no collector")
	}
	o := a.policy.Telemetry.OTLP
	name, err := named(o, a.vaultOfOTLP(o), a.scope())
	if err != nil {
		return nil, err
	}
	logs, release, err := a.shared.logs.Acquire(name, a.user, func() (*telemetry.Logs, func(), error) {
		own := a.nested()
		endpoint, err := own.endpoint(o)
		if err != nil {
			own.Close()
			return nil, nil, err
		}
		logs, err := telemetry.NewLogs(telemetry.LogsConfig{Endpoint: endpoint, Identity: own.identity(), Metrics: a.shared.metrics.telemetry})
		if err != nil {
			own.Close()
			return nil, nil, err
		}
		return logs, func() {
			logs.Close()
			own.Close()
		}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("telemetry.otlp: %w", err)
	}
	a.onClose(release)
	return logs, nil
}

// vaultOfOTLP returns the policy's Vault if it holds the headers.
func (a *Acquirer) vaultOfOTLP(o *compiled.OTLP) *compiled.Vault {
	if o.Headers != nil && o.Headers.VaultPath != "" {
		return a.policy.Vault
	}
	return nil
}

// endpoint returns the connection to the collector.
func (a *Acquirer) endpoint(o *compiled.OTLP) (telemetry.Endpoint, error) {
	e := telemetry.Endpoint{Address: o.Endpoint, Protocol: telemetry.Protocol(o.Protocol)}
	if o.TLS != nil {
		e.TLS = &telemetry.TLS{ServerName: o.TLS.ServerName, CABundle: []byte(o.TLS.CABundle)}
	}
	var err error
	if e.Headers, err = a.secret(o.Headers); err != nil {
		return e, fmt.Errorf("headersRef: %w", err)
	}
	return e, nil
}

// identity is who exports. The service is not that of the app, which may export traces under its own name.
func (a *Acquirer) identity() telemetry.Identity {
	return telemetry.Identity{
		Service: "postern-" + a.policy.Name, Namespace: a.policy.Namespace, Pod: a.shared.cfg.Pod, Version: a.shared.cfg.Version,
	}
}
