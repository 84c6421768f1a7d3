package compiled

import "errors"

// Redis is the connection to the shared state.
type Redis struct {
	Mode             string     `json:"mode"`
	Addresses        []string   `json:"addresses"`
	MasterName       string     `json:"masterName,omitempty"`
	Database         int        `json:"database,omitempty"`
	Username         string     `json:"username,omitempty"`
	Password         *SecretRef `json:"password,omitempty"`
	SentinelPassword *SecretRef `json:"sentinelPassword,omitempty"`
	TLS              *RedisTLS  `json:"tls,omitempty"`
	Timeout          Duration   `json:"timeout"`
}

// RedisTLS configures how the sidecar verifies Redis, and how it authenticates itself.
type RedisTLS struct {
	ServerName string `json:"serverName,omitempty"`
	CABundle   string `json:"caBundle,omitempty"`
	// Certificate and Key are those of the client, in PEM; both or neither are set.
	Certificate *SecretRef `json:"certificate,omitempty"`
	Key         *SecretRef `json:"key,omitempty"`
}

// Vault is the Vault server that secrets are read from, and how a sidecar logs in: exactly one of Kubernetes, AppRole and
// TokenFile.
type Vault struct {
	Address      string           `json:"address"`
	Namespace    string           `json:"namespace,omitempty"`
	CABundle     string           `json:"caBundle,omitempty"`
	Kubernetes   *VaultKubernetes `json:"kubernetes,omitempty"`
	AppRole      *VaultAppRole    `json:"appRole,omitempty"`
	TokenFile    string           `json:"tokenFile,omitempty"`
	Timeout      Duration         `json:"timeout"`
	PollInterval Duration         `json:"pollInterval"`
	MaxStale     Duration         `json:"maxStale"`
}

// VaultKubernetes logs in with the pod's projected token of that audience, which is mounted at VaultTokenFile.
type VaultKubernetes struct {
	Mount    string `json:"mount"`
	Role     string `json:"role"`
	Audience string `json:"audience"`
}

// VaultAppRole logs in with a role ID and, if it is set, a secret ID.
type VaultAppRole struct {
	Mount    string     `json:"mount"`
	RoleID   string     `json:"roleID"`
	SecretID *SecretRef `json:"secretID,omitempty"`
}

func (r *Redis) validate() error {
	if len(r.Addresses) == 0 || r.Timeout <= 0 {
		return errors.New("addresses and timeout are required")
	}
	if (r.Mode == "Sentinel") != (r.MasterName != "") {
		return errors.New("masterName is required with mode Sentinel, and not allowed otherwise")
	}
	if r.TLS != nil && (r.TLS.Certificate == nil) != (r.TLS.Key == nil) {
		return errors.New("tls: certificate and key must be set together")
	}
	return oneOf("mode", r.Mode, "Standalone", "Sentinel", "Cluster")
}

func (v *Vault) validate() error {
	ways := 0
	for _, given := range []bool{v.Kubernetes != nil, v.AppRole != nil, v.TokenFile != ""} {
		if given {
			ways++
		}
	}
	switch {
	case v.Address == "" || v.Timeout <= 0 || v.PollInterval <= 0 || v.MaxStale <= 0:
		return errors.New("address, timeout, pollInterval and maxStale are required")
	case ways != 1:
		return errors.New("exactly one of kubernetes, appRole and tokenFile is required")
	case v.Kubernetes != nil && (v.Kubernetes.Role == "" || v.Kubernetes.Mount == "" || v.Kubernetes.Audience == ""):
		return errors.New("kubernetes: mount, role and audience are required")
	case v.AppRole != nil && (v.AppRole.RoleID == "" || v.AppRole.Mount == ""):
		return errors.New("appRole: mount and roleID are required")
	case v.AppRole != nil && v.AppRole.SecretID != nil && v.AppRole.SecretID.Name == "":
		return errors.New("appRole: the secret ID cannot be in Vault")
	}
	return nil
}
