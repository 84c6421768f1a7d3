package compiled

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ProbePathPrefix comes before "<container>/<kind>" in the paths of the admin port that the kubelet is pointed at.
const ProbePathPrefix = "/probe/"

// ProbeTokenHeader carries a hook's token.
const ProbeTokenHeader = "Postern-Probe-Token"

// MaxProbesSize bounds EnvProbes, in bytes: the kernel takes no single variable of 128 KiB (MAX_ARG_STRLEN).
const MaxProbesSize = 64 << 10

// ProbeKind is what the kubelet wants to know, or to have done.
type ProbeKind string

// Kinds that Validate accepts: checks, and hooks that have effects in the app.
const (
	ProbeLiveness  ProbeKind = "liveness"
	ProbeReadiness ProbeKind = "readiness"
	ProbeStartup   ProbeKind = "startup"
	HookPostStart  ProbeKind = "postStart"
	HookPreStop    ProbeKind = "preStop"
)

// IsHook reports whether the kind has effects in the app, so that it goes with a token.
func (k ProbeKind) IsHook() bool { return k == HookPostStart || k == HookPreStop }

// Probe is one check or hook of the kubelet, which the webhook pointed at the sidecar's admin port, and which the sidecar
// carries on to the app. Exactly one of HTTP, TCP and GRPC is set; a hook is HTTP.
type Probe struct {
	// Container that declared it, and Kind: together they are the path on the admin port.
	Container string    `json:"container"`
	Kind      ProbeKind `json:"kind"`
	// Token that a request must carry in ProbeTokenHeader; hooks have one, checks have none.
	Token string `json:"token,omitempty"`
	// TimeoutSeconds of one try, at least 1; 0 for hooks, which end when the kubelet goes away.
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`

	HTTP *ProbeHTTP `json:"http,omitempty"`
	TCP  *ProbeTCP  `json:"tcp,omitempty"`
	GRPC *ProbeGRPC `json:"grpc,omitempty"`
}

// ProbeHTTP is a GET to the app, which is well from status 200 to 399.
type ProbeHTTP struct {
	Port uint16 `json:"port"`
	// Scheme is HTTP or HTTPS; the certificate is not verified, as the kubelet does not.
	Scheme string `json:"scheme"`
	// HTTP2 is cleartext HTTP/2 with prior knowledge.
	HTTP2 bool `json:"http2,omitempty"`
	// Path may carry a query; empty means "/".
	Path string `json:"path,omitempty"`
	// Headers in their order, Host among them.
	Headers []HeaderField `json:"headers,omitempty"`
}

// ProbeTCP is a connection to the app.
type ProbeTCP struct {
	Port uint16 `json:"port"`
}

// ProbeGRPC is a call of grpc.health.v1.Health/Check.
type ProbeGRPC struct {
	Port    uint16 `json:"port"`
	Service string `json:"service,omitempty"`
}

// Path is where on the admin port the kubelet asks for the probe.
func (p *Probe) Path() string { return ProbePathPrefix + p.Container + "/" + string(p.Kind) }

// EncodeProbes writes EnvProbes. No "$" is in it, which the kubelet would expand. Probes that Validate refuses, and more
// than MaxProbesSize, are errors.
func EncodeProbes(probes []Probe) (string, error) {
	if err := validateProbes(probes); err != nil {
		return "", fmt.Errorf("encoding %s: %w", EnvProbes, err)
	}
	b, err := json.Marshal(probes)
	if err != nil {
		return "", fmt.Errorf("encoding %s: %w", EnvProbes, err)
	}
	s := strings.ReplaceAll(string(b), "$", `\u0024`)
	if len(s) > MaxProbesSize {
		return "", fmt.Errorf("encoding %s: %d bytes is more than %d", EnvProbes, len(s), MaxProbesSize)
	}
	return s, nil
}

// DecodeProbes reads EnvProbes strictly: an unknown field, trailing data, a path named twice and whatever Validate refuses
// are errors. Nothing is in the empty string.
func DecodeProbes(s string) ([]Probe, error) {
	if s == "" {
		return nil, nil
	}
	if len(s) > MaxProbesSize {
		return nil, fmt.Errorf("decoding %s: %d bytes is more than %d", EnvProbes, len(s), MaxProbesSize)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(s)))
	d.DisallowUnknownFields()
	var probes []Probe
	if err := d.Decode(&probes); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", EnvProbes, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("decoding %s: data after its end", EnvProbes)
	}
	if err := validateProbes(probes); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", EnvProbes, err)
	}
	return probes, nil
}

func validateProbes(probes []Probe) error {
	seen := map[string]bool{}
	for i := range probes {
		if err := probes[i].Validate(); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
		if path := probes[i].Path(); seen[path] {
			return fmt.Errorf("[%d]: %s is named twice", i, path)
		} else {
			seen[path] = true
		}
	}
	return nil
}

// Validate reports what a sidecar could not carry on.
func (p *Probe) Validate() error {
	if p.Container == "" || strings.ContainsFunc(p.Container, notInLabel) {
		return fmt.Errorf("container %q is not a container's name", p.Container)
	}
	err := oneOf("kind", p.Kind, ProbeLiveness, ProbeReadiness, ProbeStartup, HookPostStart, HookPreStop)
	if err != nil {
		return err
	}
	switch {
	case p.Kind.IsHook() != (p.Token != ""):
		return errors.New("token goes with hooks, and is needed there")
	case p.Kind.IsHook() && p.HTTP == nil:
		return errors.New("a hook is HTTP")
	case p.TimeoutSeconds < 0 || (p.TimeoutSeconds == 0) != p.Kind.IsHook():
		return fmt.Errorf("timeoutSeconds is %d: checks have at least 1, hooks have none", p.TimeoutSeconds)
	}
	return p.validateTarget()
}

func notInLabel(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' }

func (p *Probe) validateTarget() error {
	var ports []uint16
	if p.HTTP != nil {
		ports = append(ports, p.HTTP.Port)
	}
	if p.TCP != nil {
		ports = append(ports, p.TCP.Port)
	}
	if p.GRPC != nil {
		ports = append(ports, p.GRPC.Port)
	}
	switch {
	case len(ports) != 1:
		return errors.New("exactly one of http, tcp and grpc is needed")
	case ports[0] == 0 || ports[0] == InboundPort || ports[0] == AdminPort:
		return fmt.Errorf("port %d is not the app's", ports[0])
	case p.HTTP == nil:
		return nil
	}
	for i, h := range p.HTTP.Headers {
		if h.Name == "" {
			return fmt.Errorf("http.headers[%d]: name is needed", i)
		}
	}
	if p.HTTP.HTTP2 && p.HTTP.Scheme != "HTTP" {
		return errors.New("http.http2 goes with scheme HTTP")
	}
	return oneOf("http.scheme", p.HTTP.Scheme, "HTTP", "HTTPS")
}
