package compiled

import (
	"encoding/json"
	"fmt"
)

// Names of the environment variables with which the webhook tells a sidecar who it is. Settings of a sidecar are
// environment, never flags.
const (
	// EnvNamespace and EnvPolicy name the policy whose documents the sidecar takes.
	EnvNamespace = "POSTERN_NAMESPACE"
	EnvPolicy    = "POSTERN_POLICY"
	// EnvDocumentKey is the operator's Ed25519 public key, in standard base64.
	EnvDocumentKey = "POSTERN_DOCUMENT_KEY"
	// EnvDocumentFloor is the lowest revision that the sidecar accepts; left out where the policy had no document yet.
	EnvDocumentFloor = "POSTERN_DOCUMENT_FLOOR"
	// EnvDocumentDir is where the policy's ConfigMap is mounted.
	EnvDocumentDir = "POSTERN_DOCUMENT_DIR"
	// EnvSecretsDir is where Secrets are mounted, one folder each.
	EnvSecretsDir = "POSTERN_SECRETS_DIR"
	// EnvOperatorURL, EnvOperatorCA (PEM) and EnvOperatorTokenFile are the long poll's.
	EnvOperatorURL       = "POSTERN_OPERATOR_URL"
	EnvOperatorCA        = "POSTERN_OPERATOR_CA"
	EnvOperatorTokenFile = "POSTERN_OPERATOR_TOKEN_FILE"
	// EnvInterception is Redirect or Takeover.
	EnvInterception = "POSTERN_INTERCEPTION"
	// EnvPodIPs are the pod's addresses, separated by commas.
	EnvPodIPs = "POSTERN_POD_IPS"
	// EnvContainerPorts is the JSON of []ContainerPort: what the pod's containers declare.
	EnvContainerPorts = "POSTERN_CONTAINER_PORTS"
	// EnvProbes is the JSON of the kubelet's probes and hooks that the sidecar carries on.
	EnvProbes = "POSTERN_PROBES"
	// EnvInboundPort and EnvAdminPort are the sidecar's own ports.
	EnvInboundPort = "POSTERN_INBOUND_PORT"
	EnvAdminPort   = "POSTERN_ADMIN_PORT"
	// EnvLoopbackPort is the port of the app's API, at 127.0.0.1.
	EnvLoopbackPort = "POSTERN_LOOPBACK_PORT"
	// EnvVaultTokenFile is the service-account token with which the sidecar logs in to Vault.
	EnvVaultTokenFile = "POSTERN_VAULT_TOKEN_FILE"
	// EnvExcludedPorts are TCP ports that Redirect leaves alone, separated by commas.
	EnvExcludedPorts = "POSTERN_EXCLUDED_PORTS"
)

// The sidecar's own ports in every pod; an app that declares one of them is refused admission.
const (
	InboundPort uint16 = 15990
	AdminPort   uint16 = 15991
	// LoopbackPort, at 127.0.0.1, is the app's API for tokens and passwords.
	LoopbackPort uint16 = 15992
)

// OwnPorts are all of them.
func OwnPorts() []uint16 { return []uint16{InboundPort, AdminPort, LoopbackPort} }

// Where the webhook mounts things in the sidecar.
const (
	DocumentDir       = "/var/run/postern/document"
	SecretsDir        = "/var/run/postern/secrets"
	OperatorTokenFile = "/var/run/postern/token/operator"
	VaultTokenFile    = "/var/run/postern/token/vault"
)

// OperatorAudience is the audience of the service-account token with which a sidecar polls the operator.
const OperatorAudience = "postern.dev/operator"

// PollPath is the long poll's path: POST a Report, get a Signed document once there is a newer one (200), or nothing
// new for a while (204).
const PollPath = "/v1/document"

// ContainerPort is a TCP port that a container of the pod declares.
type ContainerPort struct {
	Name   string `json:"name,omitempty"`
	Number uint16 `json:"number"`
}

// ResolvedPort is a port of the app by number.
type ResolvedPort struct {
	Number   uint16
	Protocol Protocol
}

// ResolvePorts returns the app's ports by number, given what the pod's containers declare. A policy without ports means
// every declared one. A name that no container declares is an error.
func (p *Policy) ResolvePorts(declared []ContainerPort) ([]ResolvedPort, error) {
	var resolved []ResolvedPort
	seen := map[uint16]bool{}
	add := func(number uint16, protocol Protocol) {
		if !seen[number] {
			seen[number] = true
			resolved = append(resolved, ResolvedPort{Number: number, Protocol: protocol})
		}
	}
	if len(p.Ports) == 0 {
		for _, d := range declared {
			add(d.Number, HTTP)
		}
		return resolved, nil
	}
	for _, port := range p.Ports {
		if port.Name == "" {
			add(port.Number, port.Protocol)
			continue
		}
		found := false
		for _, d := range declared {
			if d.Name == port.Name {
				found = true
				add(d.Number, port.Protocol)
			}
		}
		if !found {
			return nil, fmt.Errorf("no container of the pod declares a TCP port named %q", port.Name)
		}
	}
	return resolved, nil
}

// DecodeContainerPorts reads EnvContainerPorts.
func DecodeContainerPorts(s string) ([]ContainerPort, error) {
	var ports []ContainerPort
	if s == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(s), &ports); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", EnvContainerPorts, err)
	}
	return ports, nil
}
