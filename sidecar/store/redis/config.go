// Package redis is the sidecar's one connection to Redis: a single server, Sentinel or Cluster. It is opened once for a
// configuration, outlives policy reloads, and is shared by every store. Each store runs its commands through Conn.Do,
// which bounds their time and, while Redis does not answer, refuses in microseconds instead of waiting.
package redis

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// Mode is how the servers are arranged.
type Mode string

// The modes, as SidecarClass spells them.
const (
	Standalone Mode = "Standalone"
	Sentinel   Mode = "Sentinel"
	Cluster    Mode = "Cluster"
)

// Bounds of Config.Timeout. A longer one would hold a request for longer than a person waits.
const (
	DefaultTimeout = 100 * time.Millisecond
	maxTimeout     = 10 * time.Second
)

// Config says where Redis is and how to log in.
type Config struct {
	Mode Mode
	// Addresses are host:port: one server, or some of the sentinels or of the cluster's nodes.
	Addresses []string
	// MasterName is the master's name in Sentinel; in no other mode.
	MasterName string
	// Database is the logical database; 0 in a cluster.
	Database int
	// Username is the ACL user; empty for the default one.
	Username string
	// Password logs in to the data servers, and SentinelPassword to the sentinels. Both are read at each new connection,
	// so a rotated one is taken by itself; nil if none is asked for.
	Password, SentinelPassword secret.Source
	// TLS is nil for plain TCP.
	TLS *TLSConfig
	// Timeout bounds one round trip; one operation takes at most three of it, on a new connection. DefaultTimeout if 0.
	Timeout time.Duration
}

// TLSConfig says how the servers are verified; they always are.
type TLSConfig struct {
	// ServerName is expected in every server's certificate; empty for the address that was dialled.
	ServerName string
	// CABundle holds the accepted authorities as PEM; empty for those of the system.
	CABundle []byte
	// Certificate and Key, as PEM, are what the client shows to a server that asks for it: both, or neither. They are read
	// at each such handshake, so a rotated pair is taken by itself.
	Certificate, Key secret.Source
}

// withDefaults returns a valid c, or an error that says what to change.
func (c Config) withDefaults() (Config, error) {
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Timeout < time.Millisecond || c.Timeout > maxTimeout {
		return c, fmt.Errorf("timeout %s is not between 1ms and %s", c.Timeout, maxTimeout)
	}
	if err := c.checkMode(); err != nil {
		return c, err
	}
	for _, addr := range c.Addresses {
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
			return c, fmt.Errorf("address %q is not host:port", addr)
		}
	}
	if c.Username != "" && c.Password == nil {
		return c, fmt.Errorf("user %q has no password", c.Username)
	}
	if c.TLS != nil && (c.TLS.Certificate == nil) != (c.TLS.Key == nil) {
		return c, errors.New("a client certificate and its key are given together, or neither")
	}
	return c, nil
}

func (c Config) checkMode() error {
	switch {
	case c.Mode != Standalone && c.Mode != Sentinel && c.Mode != Cluster:
		return fmt.Errorf("mode %q is not %s, %s or %s", c.Mode, Standalone, Sentinel, Cluster)
	case len(c.Addresses) == 0:
		return errors.New("no address is given")
	case c.Mode == Standalone && len(c.Addresses) > 1:
		return fmt.Errorf("mode %s takes one address, not %d", Standalone, len(c.Addresses))
	case (c.Mode == Sentinel) != (c.MasterName != ""):
		return fmt.Errorf("a master name is needed in mode %s, and in no other", Sentinel)
	case c.Mode != Sentinel && c.SentinelPassword != nil:
		return fmt.Errorf("a sentinel password is for mode %s alone", Sentinel)
	case c.Database < 0:
		return fmt.Errorf("database %d is negative", c.Database)
	case c.Mode == Cluster && c.Database != 0:
		return fmt.Errorf("a cluster has no database but 0, not %d", c.Database)
	}
	return nil
}
