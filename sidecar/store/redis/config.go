// Package redis is the sidecar's shared connection to Redis: a single server, Sentinel or Cluster. It is opened once per
// configuration, outlives policy reloads, and is shared by all stores. Stores run their commands through Conn.Do, which bounds
// their time. While Redis is unavailable, Conn.Do fails in microseconds instead of waiting.
package redis

import (
	"errors"
	"fmt"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// Mode is the topology of the servers.
type Mode string

// The modes, as SidecarClass spells them.
const (
	Standalone Mode = "Standalone"
	Sentinel   Mode = "Sentinel"
	Cluster    Mode = "Cluster"
)

// Bounds of Config.Timeout. A longer timeout would hold a request for longer than a user waits.
const (
	DefaultTimeout = 100 * time.Millisecond
	maxTimeout     = 10 * time.Second
)

// defaultProbeKey is the default of Config.ProbeKey.
const defaultProbeKey = "postern:probe"

// Config configures the addresses and the login.
type Config struct {
	Mode Mode
	// Addresses are host:port: one server, or some of the sentinels or of the cluster's nodes.
	Addresses []string
	// MasterName is the name of the master in Sentinel. It is required in mode Sentinel and not allowed in other modes.
	MasterName string
	// Database is the logical database. It must be 0 in a cluster.
	Database int
	// Username is the ACL user. Empty means the default user.
	Username string
	// Password logs in to the data servers, SentinelPassword to the sentinels. Both are read for each new connection, so that a
	// rotated password is used without a restart. nil means no password.
	Password, SentinelPassword secret.Source
	// TLS is nil for plain TCP.
	TLS *TLSConfig
	// ProbeKey is a key that no store writes. Deleting it proves that a server takes writes. The user of Username must have access
	// to it. It defaults to defaultProbeKey.
	ProbeKey string
	// Timeout bounds one round trip. One operation takes at most three times as long, on a new connection. It defaults to
	// DefaultTimeout.
	Timeout time.Duration
}

// TLSConfig configures TLS. Server certificates are always verified.
type TLSConfig struct {
	// ServerName is the name that every server certificate must have. It defaults to the host of the dialled address.
	ServerName string
	// CABundle holds the accepted authorities as PEM. It defaults to the authorities of the system.
	CABundle []byte
	// Certificate and Key, as PEM, are the client certificate for servers that request one. Both are set, or neither. They are
	// read for each such handshake, so that a rotated pair is used without a restart.
	Certificate, Key secret.Source
}

// withDefaults returns c with defaults. The error says what to change.
func (c Config) withDefaults() (Config, error) {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.ProbeKey == "" {
		c.ProbeKey = defaultProbeKey
	}
	if c.Timeout < time.Millisecond || c.Timeout > maxTimeout {
		return c, fmt.Errorf("timeout %s is not between 1ms and %s", c.Timeout, maxTimeout)
	}
	if err := c.checkMode(); err != nil {
		return c, err
	}
	for _, addr := range c.Addresses {
		if err := check.RedisAddress(addr); err != nil {
			return c, fmt.Errorf("address: %w", err)
		}
	}
	if c.Username != "" && c.Password == nil {
		return c, fmt.Errorf("user %q has no password", c.Username)
	}
	if c.TLS != nil && (c.TLS.Certificate == nil) != (c.TLS.Key == nil) {
		return c, errors.New("a client certificate requires its key, and a key requires its certificate")
	}
	return c, nil
}

func (c Config) checkMode() error {
	switch {
	case c.Mode != Standalone && c.Mode != Sentinel && c.Mode != Cluster:
		return fmt.Errorf("mode %q is not %s, %s or %s", c.Mode, Standalone, Sentinel, Cluster)
	case len(c.Addresses) == 0:
		return errors.New("no address")
	case c.Mode == Standalone && len(c.Addresses) > 1:
		return fmt.Errorf("mode %s requires exactly one address, not %d", Standalone, len(c.Addresses))
	case (c.Mode == Sentinel) != (c.MasterName != ""):
		return fmt.Errorf("a master name is required in mode %s and not allowed in other modes", Sentinel)
	case c.Mode != Sentinel && c.SentinelPassword != nil:
		return fmt.Errorf("a sentinel password is allowed only in mode %s", Sentinel)
	case c.Database < 0:
		return fmt.Errorf("database %d is negative", c.Database)
	case c.Mode == Cluster && c.Database != 0:
		return fmt.Errorf("a cluster supports only database 0, not %d", c.Database)
	}
	return nil
}
