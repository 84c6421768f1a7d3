package server

import (
	"log/slog"
	"net/http"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/conn/probe"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// newProbes carries the kubelet's probes and hooks on to the app; nil where the pod has none.
func newProbes(list []compiled.Probe, target func(port uint16) string, logger *slog.Logger) (http.Handler, error) {
	if len(list) == 0 {
		return nil, nil
	}
	c := probe.Config{Target: target, Logger: logger}
	for _, p := range list {
		c.Probes = append(c.Probes, toProbe(p))
	}
	return probe.New(c)
}

func toProbe(in compiled.Probe) probe.Probe {
	p := probe.Probe{Name: in.Name, Timeout: in.Timeout.Std()}
	if in.Token != "" {
		p.Token = secret.New([]byte(in.Token))
	}
	if in.HTTP != nil {
		p.HTTP = &probe.HTTP{Scheme: in.HTTP.Scheme, Port: in.HTTP.Port, Path: in.HTTP.Path}
		for _, h := range in.HTTP.Headers {
			p.HTTP.Headers = append(p.HTTP.Headers, probe.Field(h))
		}
	}
	if in.TCP != nil {
		p.TCP = &probe.TCP{Port: in.TCP.Port}
	}
	if in.GRPC != nil {
		p.GRPC = &probe.GRPC{Port: in.GRPC.Port, Service: in.GRPC.Service}
	}
	return p
}
