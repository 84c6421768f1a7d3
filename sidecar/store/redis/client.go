package redis

import (
	"context"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// poolSize bounds the connections to one server. A round trip takes well under a millisecond on a good network, so 32
	// connections carry tens of thousands of operations per second.
	poolSize = 32
	// minDialTimeout is the minimum timeout for a new connection. It may exceed the timeout of a request, because connections
	// are made in the background.
	minDialTimeout = time.Second
	// connLifetime and connJitter bound the age of connections, so that a changed DNS name or password is used within about an
	// hour.
	connLifetime, connJitter = time.Hour, 10 * time.Minute
)

// newClient returns a client that never retries by itself. Only Conn decides how long a request may wait, and a script that is
// sent twice would count twice. watch is called for the client of every node.
func newClient(c Config, watch func(*goredis.Client)) (goredis.UniversalClient, error) {
	tlsConfig, err := c.TLS.client()
	if err != nil {
		return nil, err
	}
	d := &dialer{timeout: max(c.Timeout, minDialTimeout), tls: tlsConfig, password: c.SentinelPassword}
	o := options(c)
	switch c.Mode {
	case Sentinel:
		d.sentinels = c.Addresses
		f := o.Failover()
		f.Dialer = d.dial
		client := goredis.NewFailoverClient(f)
		watch(client)
		return client, nil
	case Cluster:
		cl := o.Cluster()
		cl.Dialer, cl.TLSConfig = d.dial, tlsConfig
		cl.NewClient = func(node *goredis.Options) *goredis.Client {
			client := goredis.NewClient(node)
			watch(client)
			return client
		}
		return goredis.NewClusterClient(cl), nil
	default:
		s := o.Simple()
		s.Dialer = d.dial
		client := goredis.NewClient(s)
		watch(client)
		return client, nil
	}
}

func options(c Config) *goredis.UniversalOptions {
	return &goredis.UniversalOptions{
		Addrs: c.Addresses, MasterName: c.MasterName, DB: c.Database, Protocol: 2, DisableIdentity: true,
		CredentialsProviderContext: credentials(c),
		MaxRetries:                 -1, MaxRedirects: 2, MinRetryBackoff: -1, MaxRetryBackoff: -1,
		DialTimeout: max(c.Timeout, minDialTimeout), DialerRetries: 1,
		ReadTimeout: c.Timeout, WriteTimeout: c.Timeout, ContextTimeoutEnabled: true,
		ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10, PipelinePoolSize: -1,
		PoolSize: poolSize, MaxActiveConns: poolSize, PoolTimeout: c.Timeout,
		ConnMaxLifetime: connLifetime, ConnMaxLifetimeJitter: connJitter,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// credentials returns a function that reads the password for each new connection.
func credentials(c Config) func(context.Context) (string, string, error) {
	if c.Password == nil {
		return nil
	}
	return func(ctx context.Context) (string, string, error) {
		password, err := c.Password.Read(ctx)
		if err != nil {
			return "", "", fmt.Errorf("reading the password of Redis: %w", err)
		}
		return c.Username, string(password.Reveal()), nil
	}
}
