package redis

import (
	"context"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// poolSize bounds the connections to one server. A round trip takes well under a millisecond on a good link, so this
	// carries tens of thousands of operations a second.
	poolSize = 32
	// minDialTimeout leaves a new connection, which is made in the background, longer than a waiting request.
	minDialTimeout = time.Second
	// connLifetime and its jitter let connections follow a changed DNS name or password before long.
	connLifetime, connJitter = time.Hour, 10 * time.Minute
)

// newClient returns a client that never retries by itself: what a request may wait for is decided by Conn alone, and a
// script that was sent twice would count twice. Every node's client passes through watch.
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

// credentials reads the password at each new connection.
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
