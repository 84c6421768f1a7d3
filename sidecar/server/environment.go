package server

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/posterndev/postern/api/compiled"
)

// Interception is how connections reach the sidecar of a pod.
type Interception string

// Redirect sends every inbound port to the sidecar's own port. Takeover makes the sidecar listen on the app's ports
// at the pod's addresses.
const (
	Redirect Interception = "Redirect"
	Takeover Interception = "Takeover"
)

// Environment is what the webhook sets for the sidecar; see api/compiled for each variable.
type Environment struct {
	Namespace, Policy string
	DocumentKey       ed25519.PublicKey
	// DocumentFloor is the lowest revision of a document that is accepted; 0 accepts any revision.
	DocumentFloor int64
	DocumentDir   string
	SecretsDir    string
	VolumesDir    string
	// VaultTokenFile is empty if the pod was injected without a token for Vault.
	VaultTokenFile string
	// KeysTokenDir is empty if the pod was injected without tokens for key sets.
	KeysTokenDir string
	// SpoolDir is empty if records of the audit trail wait in memory.
	SpoolDir string

	OperatorURL, OperatorCA, OperatorTokenFile string

	Interception   Interception
	PodIPs         []netip.Addr
	ContainerPorts []compiled.ContainerPort
	Probes         []compiled.Probe

	InboundPort, AdminPort, LoopbackPort uint16

	ExcludedPorts []uint16
}

// ReadEnvironment reads every variable with getenv. Its error lists everything that is invalid.
func ReadEnvironment(getenv func(string) string) (Environment, error) {
	r := reader{getenv: getenv}
	e := Environment{
		Namespace: r.needed(compiled.EnvNamespace), Policy: r.needed(compiled.EnvPolicy),
		DocumentDir: r.or(compiled.EnvDocumentDir, compiled.DocumentDir), SecretsDir: r.or(compiled.EnvSecretsDir, compiled.SecretsDir),
		VolumesDir:  r.or(compiled.EnvVolumesDir, compiled.VolumesDir),
		OperatorURL: r.needed(compiled.EnvOperatorURL), OperatorCA: r.needed(compiled.EnvOperatorCA),
		OperatorTokenFile: r.or(compiled.EnvOperatorTokenFile, compiled.OperatorTokenFile),
		Interception:      Interception(r.needed(compiled.EnvInterception)),
		InboundPort:       r.port(compiled.EnvInboundPort, compiled.InboundPort),
		AdminPort:         r.port(compiled.EnvAdminPort, compiled.AdminPort),
		LoopbackPort:      r.port(compiled.EnvLoopbackPort, compiled.LoopbackPort),
		VaultTokenFile:    getenv(compiled.EnvVaultTokenFile),
		KeysTokenDir:      getenv(compiled.EnvKeysTokenDir),
		SpoolDir:          getenv(compiled.EnvSpoolDir),
		DocumentKey:       r.key(), DocumentFloor: r.floor(), PodIPs: r.podIPs(), ExcludedPorts: r.excludedPorts(),
	}
	if e.Interception != Redirect && e.Interception != Takeover {
		r.failf("%s is %q, not Redirect or Takeover", compiled.EnvInterception, e.Interception)
	}
	var err error
	if e.ContainerPorts, err = compiled.DecodeContainerPorts(getenv(compiled.EnvContainerPorts)); err != nil {
		r.errs = append(r.errs, err)
	}
	if e.Probes, err = compiled.DecodeProbes(getenv(compiled.EnvProbes)); err != nil {
		r.errs = append(r.errs, err)
	}
	return e, errors.Join(r.errs...)
}

// reader collects the errors of the environment.
type reader struct {
	getenv func(string) string
	errs   []error
}

func (r *reader) failf(format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(format, args...))
}

func (r *reader) needed(name string) string {
	v := r.getenv(name)
	if v == "" {
		r.failf("%s is not set", name)
	}
	return v
}

func (r *reader) or(name, otherwise string) string {
	if v := r.getenv(name); v != "" {
		return v
	}
	return otherwise
}

func (r *reader) port(name string, otherwise uint16) uint16 {
	v := r.getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil || n == 0 {
		r.failf("%s is %q, not a port", name, v)
	}
	return uint16(n)
}

func (r *reader) key() ed25519.PublicKey {
	key, err := base64.StdEncoding.DecodeString(r.needed(compiled.EnvDocumentKey))
	if err != nil || len(key) != ed25519.PublicKeySize {
		r.failf("%s is not an Ed25519 public key in base64", compiled.EnvDocumentKey)
		return nil
	}
	return key
}

func (r *reader) floor() int64 {
	v := r.getenv(compiled.EnvDocumentFloor)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		r.failf("%s is %q, not a revision", compiled.EnvDocumentFloor, v)
	}
	return n
}

func (r *reader) podIPs() []netip.Addr {
	var ips []netip.Addr
	for s := range strings.SplitSeq(r.needed(compiled.EnvPodIPs), ",") {
		ip, err := netip.ParseAddr(strings.TrimSpace(s))
		if err != nil {
			r.failf("%s: %w", compiled.EnvPodIPs, err)
			continue
		}
		ips = append(ips, ip.Unmap())
	}
	return ips
}

func (r *reader) excludedPorts() []uint16 {
	var ports []uint16
	for s := range strings.SplitSeq(r.getenv(compiled.EnvExcludedPorts), ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			r.failf("%s: %q is not a port", compiled.EnvExcludedPorts, s)
		}
		ports = append(ports, uint16(n))
	}
	return ports
}
