package compiled

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// ProbePathPrefix precedes a probe's name in the paths on the admin port that the kubelet calls.
const ProbePathPrefix = "/probe/"

// ProbeTokenHeader carries a hook's token.
const ProbeTokenHeader = "Postern-Probe-Token"

// Bounds of EnvProbes.
const (
	// MaxProbesSize is in bytes. The kernel refuses a single variable of 128 KiB (MAX_ARG_STRLEN).
	MaxProbesSize = 64 << 10
	// MaxProbes is far above the number of probes in a real pod.
	MaxProbes = 256
	// MaxProbeTimeout bounds one call to the app. A hook may take as long as the pod's grace period.
	MaxProbeTimeout = time.Hour

	minProbeToken   = 22 // 128 bits in base64url
	maxProbeText    = 4096
	maxProbeHeaders = 100
)

// ProbeKind is the kind of a check or a hook.
type ProbeKind string

// Kinds that Validate accepts: checks, and hooks that have effects in the app.
const (
	ProbeLiveness  ProbeKind = "liveness"
	ProbeReadiness ProbeKind = "readiness"
	ProbeStartup   ProbeKind = "startup"
	HookPostStart  ProbeKind = "postStart"
	HookPreStop    ProbeKind = "preStop"
)

// IsHook reports whether the kind has effects in the app, so that it requires a token.
func (k ProbeKind) IsHook() bool { return k == HookPostStart || k == HookPreStop }

// Probe is a check or hook of the kubelet. The webhook points it at the sidecar's admin port, and the sidecar forwards it to the
// app. Exactly one of HTTP, TCP and GRPC is set; a hook has HTTP.
type Probe struct {
	// Name is "<container>/<kind>": see ProbeName.
	Name string     `json:"name"`
	HTTP *ProbeHTTP `json:"http,omitempty"`
	TCP  *ProbeTCP  `json:"tcp,omitempty"`
	GRPC *ProbeGRPC `json:"grpc,omitempty"`
	// Timeout bounds one call to the app.
	Timeout Duration `json:"timeout"`
	// Token must be in the ProbeTokenHeader of each request. Hooks have a token; checks have none.
	Token string `json:"token,omitempty"`
}

// ProbeHTTP is a GET request to the app. A status from 200 to 399 is a success.
type ProbeHTTP struct {
	// Scheme is HTTP or HTTPS. As in the kubelet, the certificate is not verified.
	Scheme string `json:"scheme"`
	Port   uint16 `json:"port"`
	// Path may contain a query; empty means "/".
	Path string `json:"path,omitempty"`
	// Headers are in the pod's order, and may contain Host.
	Headers []HeaderField `json:"headers,omitempty"`
}

// ProbeTCP is a connection to the app.
type ProbeTCP struct {
	Port uint16 `json:"port"`
}

// ProbeGRPC is a call of grpc.health.v1.Health/Check, without TLS.
type ProbeGRPC struct {
	Port uint16 `json:"port"`
	// Service is empty for the server as a whole.
	Service string `json:"service,omitempty"`
}

// ProbeName is the name of a container's probe.
func ProbeName(container string, kind ProbeKind) string { return container + "/" + string(kind) }

// Path is the path of the probe on the admin port.
func (p *Probe) Path() string { return ProbePathPrefix + p.Name }

// Container returns the container's name, which is the first part of the probe's name.
func (p *Probe) Container() string {
	container, _, _ := strings.Cut(p.Name, "/")
	return container
}

// Kind returns the kind, which is the second part of the probe's name.
func (p *Probe) Kind() ProbeKind {
	_, kind, _ := strings.Cut(p.Name, "/")
	return ProbeKind(kind)
}

// EncodeProbes returns the value of EnvProbes. It contains no "$", which the kubelet would expand. Probes that Validate refuses,
// and more than MaxProbesSize bytes, are errors.
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

// DecodeProbes decodes the value of EnvProbes strictly. An unknown field, trailing data, a duplicate name and everything that
// Validate refuses are errors. The empty string has no probes.
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
		return nil, fmt.Errorf("decoding %s: data after the end of the list", EnvProbes)
	}
	if err := validateProbes(probes); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", EnvProbes, err)
	}
	return probes, nil
}

func validateProbes(probes []Probe) error {
	if len(probes) > MaxProbes {
		return fmt.Errorf("%d probes and hooks are more than %d: use exec probes, or fewer containers", len(probes), MaxProbes)
	}
	seen := map[string]bool{}
	for i := range probes {
		if err := probes[i].Validate(); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
		if seen[probes[i].Name] {
			return fmt.Errorf("[%d]: %q is named twice", i, probes[i].Name)
		}
		seen[probes[i].Name] = true
	}
	return nil
}

// Validate reports why a sidecar could not forward the probe. The error never contains a token.
func (p *Probe) Validate() error {
	if !isLabel(p.Container()) {
		return fmt.Errorf("name %.100q does not begin with a container's name", p.Name)
	}
	kind := p.Kind()
	err := oneOf("kind", kind, ProbeLiveness, ProbeReadiness, ProbeStartup, HookPostStart, HookPreStop)
	if err != nil {
		return err
	}
	switch {
	case p.Timeout <= 0 || p.Timeout.Std() > MaxProbeTimeout:
		return fmt.Errorf("timeout %s is not above 0 and up to %s", p.Timeout.Std(), MaxProbeTimeout)
	case kind.IsHook() != (p.Token != ""):
		return errors.New("a hook needs a token, and a check has none")
	case kind.IsHook() && (len(p.Token) < minProbeToken || len(p.Token) > maxProbeText):
		return fmt.Errorf("token has %d characters, not from %d to %d", len(p.Token), minProbeToken, maxProbeText)
	case kind.IsHook() && p.HTTP == nil:
		return errors.New("a hook needs http")
	}
	return p.validateTarget()
}

func (p *Probe) validateTarget() error {
	var ports []uint16
	var err error
	if p.HTTP != nil {
		ports, err = append(ports, p.HTTP.Port), wrap(p.HTTP.validate(), "http")
	}
	if p.TCP != nil {
		ports = append(ports, p.TCP.Port)
	}
	if p.GRPC != nil {
		ports = append(ports, p.GRPC.Port)
		if len(p.GRPC.Service) > maxProbeText {
			err = fmt.Errorf("grpc.service is longer than %d bytes", maxProbeText)
		}
	}
	switch {
	case len(ports) != 1:
		return errors.New("exactly one of http, tcp and grpc is required")
	case ports[0] == 0 || ports[0] == InboundPort || ports[0] == AdminPort:
		return fmt.Errorf("port %d is 0 or a port of the sidecar", ports[0])
	}
	return err
}

func (h *ProbeHTTP) validate() error {
	switch {
	case len(h.Path) > maxProbeText:
		return fmt.Errorf("the path has %d bytes, more than %d: shorten it", len(h.Path), maxProbeText)
	case len(h.Headers) > maxProbeHeaders:
		return fmt.Errorf("it has %d headers, more than %d: remove some", len(h.Headers), maxProbeHeaders)
	}
	for i, f := range h.Headers {
		if len(f.Value) > maxProbeText {
			return fmt.Errorf("headers[%d]: the value of %.50q has %d bytes, more than %d: shorten it", i, f.Name, len(f.Value), maxProbeText)
		}
		if !isFieldName(f.Name) || strings.ContainsFunc(f.Value, isControl) {
			return fmt.Errorf("headers[%d]: %.50q cannot be sent", i, f.Name)
		}
	}
	return oneOf("scheme", h.Scheme, "HTTP", "HTTPS")
}

// isLabel reports whether s is a DNS label (RFC 1123), as names of containers are.
func isLabel(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, "-") == s && strings.Trim(s, lowerAlphanumeric+"-") == ""
}

// isFieldName reports whether s is a field's name (RFC 9110 §5.6.2).
func isFieldName(s string) bool {
	return s != "" && len(s) <= 256 && strings.Trim(s, lowerAlphanumeric+"ABCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&'*+-.^_`|~") == ""
}

const lowerAlphanumeric = "abcdefghijklmnopqrstuvwxyz0123456789"

// isControl reports whether c may not be in a field's value (RFC 9110 §5.5).
func isControl(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }
