package server

import (
	"log/slog"
	"net"
	"net/netip"
	"strconv"
)

// Pod is the sidecar of a pod that the webhook injected.
type Pod struct {
	Environment Environment
	Version     string
	Level       *slog.LevelVar
	Logger      *slog.Logger
}

// Config returns what the pod's sidecar runs with.
func (p Pod) Config() Config {
	e := p.Environment
	inbound := e.inbound()
	return Config{
		Documents: operated{
			namespace: e.Namespace, policy: e.Policy, key: e.DocumentKey, dir: e.DocumentDir,
			url: e.OperatorURL, ca: e.OperatorCA, tokenFile: e.OperatorTokenFile, version: p.Version,
		},
		Inbound: inbound, ContainerPorts: e.ContainerPorts, Probes: e.Probes,
		// The kubelet would have connected to the pod's first address.
		ProbeTarget: func(port uint16) string { return inbound.target(netip.AddrPortFrom(e.PodIPs[0], port)) },
		Admin:       ":" + strconv.Itoa(int(e.AdminPort)), AppAPI: net.JoinHostPort("127.0.0.1", strconv.Itoa(int(e.LoopbackPort))),
		SecretsDir: e.SecretsDir, VaultTokenFile: e.VaultTokenFile, Version: p.Version, Level: p.Level, Logger: p.Logger,
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
