package compiled

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Names of the environment variables with which the webhook configures a sidecar. A sidecar has no flags for these settings.
const (
	// EnvNamespace and EnvPolicy name the policy whose documents the sidecar runs.
	EnvNamespace = "POSTERN_NAMESPACE"
	EnvPolicy    = "POSTERN_POLICY"
	// EnvDocumentKey is the operator's Ed25519 public key, in standard base64.
	EnvDocumentKey = "POSTERN_DOCUMENT_KEY"
	// EnvDocumentFloor is the lowest revision that the sidecar accepts. It is not set if the policy had no document yet.
	EnvDocumentFloor = "POSTERN_DOCUMENT_FLOOR"
	// EnvDocumentDir is the folder where the policy's ConfigMap is mounted.
	EnvDocumentDir = "POSTERN_DOCUMENT_DIR"
	// EnvSecretsDir is the folder where Secrets are mounted, each in a folder of its own.
	EnvSecretsDir = "POSTERN_SECRETS_DIR"
	// EnvVolumesDir is the folder where PersistentVolumeClaims are mounted, each in a folder of its own. It is not set if there are none.
	EnvVolumesDir = "POSTERN_VOLUMES_DIR"
	// EnvSpoolDir is the folder in which records of the audit trail wait for their sinks. It is not set if they wait in memory.
	EnvSpoolDir = "POSTERN_SPOOL_DIR"
	// EnvOperatorURL, EnvOperatorCA (PEM) and EnvOperatorTokenFile configure the long poll.
	EnvOperatorURL       = "POSTERN_OPERATOR_URL"
	EnvOperatorCA        = "POSTERN_OPERATOR_CA"
	EnvOperatorTokenFile = "POSTERN_OPERATOR_TOKEN_FILE"
	// EnvInterception is Redirect or Takeover.
	EnvInterception = "POSTERN_INTERCEPTION"
	// EnvPodIPs are the pod's addresses, separated by commas.
	EnvPodIPs = "POSTERN_POD_IPS"
	// EnvContainerPorts are the ports that the pod's containers declare: []ContainerPort as JSON.
	EnvContainerPorts = "POSTERN_CONTAINER_PORTS"
	// EnvProbes are the kubelet's probes and hooks that the sidecar forwards to the app, as JSON; see EncodeProbes.
	EnvProbes = "POSTERN_PROBES"
	// EnvInboundPort and EnvAdminPort are the sidecar's own ports.
	EnvInboundPort = "POSTERN_INBOUND_PORT"
	EnvAdminPort   = "POSTERN_ADMIN_PORT"
	// EnvLoopbackPort is the port of the sidecar's API for the app, at 127.0.0.1.
	EnvLoopbackPort = "POSTERN_LOOPBACK_PORT"
	// EnvVaultTokenFile is the file of the service-account token with which the sidecar logs in to Vault.
	EnvVaultTokenFile = "POSTERN_VAULT_TOKEN_FILE"
	// EnvKeysTokenDir is the folder with the service-account tokens for key sets, one KeysTokenName each, and the cluster's CA. It is not
	// set if no key set needs one.
	EnvKeysTokenDir = "POSTERN_KEYS_TOKEN_DIR"
	// EnvExcludedPorts are TCP ports that are not guarded, separated by commas: those that Redirect does not redirect, and under
	// Takeover those of the proxy of the pod's mesh.
	EnvExcludedPorts = "POSTERN_EXCLUDED_PORTS"
)

// Ports of the sidecar in every pod. A pod whose containers declare one of them is refused.
const (
	InboundPort uint16 = 15990
	AdminPort   uint16 = 15991
	// LoopbackPort, at 127.0.0.1, is the port of the sidecar's API for the app (tokens and passwords).
	LoopbackPort uint16 = 15992
)

// OwnPorts returns all ports of the sidecar.
func OwnPorts() []uint16 { return []uint16{InboundPort, AdminPort, LoopbackPort} }

// Paths in the sidecar's container where the webhook mounts the document, Secrets, volumes and tokens.
const (
	DocumentDir       = "/var/run/postern/document"
	SecretsDir        = "/var/run/postern/secrets"
	VolumesDir        = "/var/run/postern/volumes"
	SpoolDir          = "/var/run/postern/spool"
	OperatorTokenFile = "/var/run/postern/token/operator"
	VaultTokenFile    = "/var/run/postern/token/vault"
	KeysTokenDir      = "/var/run/postern/token"
)

// ClusterCAName is the name of the file with the cluster's CA in KeysTokenDir.
const ClusterCAName = "cluster-ca.crt"

// KeysTokenName returns the name of the file in KeysTokenDir with the service-account token for this audience.
func KeysTokenName(audience string) string {
	sum := sha256.Sum256([]byte(audience))
	return "keys-" + hex.EncodeToString(sum[:8])
}

// OperatorAudience is the audience of the service-account token with which a sidecar polls the operator.
const OperatorAudience = "postern.dev/operator"

// PollPath is the path of the long poll: a sidecar sends a Report with POST. The response is 200 with a Signed document as soon
// as there is a newer one, or 204 if there is none for a while.
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

// ResolvePorts returns the app's ports by number, given the ports that the pod's containers declare. A policy without ports
// selects every declared port. A name that no container declares is an error.
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

// MaxContainerPortsSize bounds the value of EnvContainerPorts, in bytes. The kernel refuses a single variable of 128 KiB
// (MAX_ARG_STRLEN), and the app's own variables are not affected.
const MaxContainerPortsSize = 64 << 10

// EncodeContainerPorts returns the value of EnvContainerPorts. A value above MaxContainerPortsSize is an error.
func EncodeContainerPorts(ports []ContainerPort) (string, error) {
	b, err := json.Marshal(ports)
	if err != nil {
		return "", fmt.Errorf("encoding %s: %w", EnvContainerPorts, err)
	}
	if len(b) > MaxContainerPortsSize {
		return "", fmt.Errorf("encoding %s: %d ports take %d bytes, more than %d", EnvContainerPorts, len(ports), len(b), MaxContainerPortsSize)
	}
	return string(b), nil
}

// DecodeContainerPorts decodes the value of EnvContainerPorts.
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
