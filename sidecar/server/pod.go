package server

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/conn/probe"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// Pod is the sidecar of a pod that the webhook injected.
type Pod struct {
	Environment Environment
	Version     string
	Level       *slog.LevelVar
	Logger      *slog.Logger
}

// Config returns the configuration of the pod's sidecar.
func (p Pod) Config() Config {
	e := p.Environment
	inbound := e.inbound()
	return Config{
		Documents: operated{
			namespace: e.Namespace, policy: e.Policy, key: e.DocumentKey, floor: e.DocumentFloor, dir: e.DocumentDir,
			url: e.OperatorURL, ca: e.OperatorCA, tokenFile: e.OperatorTokenFile, version: p.Version,
		},
		Inbound: inbound, ContainerPorts: e.ContainerPorts, Probes: e.Probes,
		// The kubelet would have connected to the pod's first address.
		ProbeTarget: func(port uint16) string { return inbound.target(netip.AddrPortFrom(e.PodIPs[0], port)) },
		Admin:       ":" + strconv.Itoa(int(e.AdminPort)), AppAPI: net.JoinHostPort("127.0.0.1", strconv.Itoa(int(e.LoopbackPort))),
		SecretsDir: e.SecretsDir, VolumesDir: e.VolumesDir, VaultTokenFile: e.VaultTokenFile, KeysTokenDir: e.KeysTokenDir, SpoolDir: e.SpoolDir, Version: p.Version, Level: p.Level, Logger: p.Logger,
	}
}

func (e Environment) inbound() Inbound {
	if e.Interception == Redirect {
		return redirected{port: e.InboundPort, excluded: e.ExcludedPorts}
	}
	t := takeover{addresses: e.PodIPs, excluded: e.ExcludedPorts}
	for _, p := range e.ContainerPorts {
		t.declared = append(t.declared, p.Number)
	}
	return t
}

// newProbes forwards the kubelet's probes and hooks to the app; nil if the pod has none.
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
