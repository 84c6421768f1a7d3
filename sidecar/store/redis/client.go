package redis

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
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

// link is a client with its connections. Replacing it drops the connections.
type link struct {
	client goredis.UniversalClient
	// ctx ends with drop, when another link has replaced this one.
	ctx  context.Context
	drop context.CancelFunc
	// master is the address that the connections lead to; only in mode Sentinel, and nil before the first connection.
	master atomic.Pointer[string]
}

// opener opens links of one configuration.
type opener struct {
	config    Config
	dialer    *dialer
	sentinels *sentinels // nil except in mode Sentinel
	// watch is called for the client of every node.
	watch func(*goredis.Client)
	// moved is called if Sentinel names another master than the link leads to.
	moved func(*link)
}

func newOpener(c Config) (*opener, error) {
	tlsConfig, err := c.TLS.client()
	if err != nil {
		return nil, err
	}
	o := &opener{config: c, dialer: &dialer{timeout: max(c.Timeout, minDialTimeout), tls: tlsConfig}}
	if c.Mode == Sentinel {
		o.sentinels = newSentinels(c, o.dialer)
	}
	return o, nil
}

// open returns a link whose client never retries by itself. Only Conn decides how long a request may wait, and a script that is
// sent twice would count twice.
func (o *opener) open() *link {
	l := &link{}
	l.ctx, l.drop = context.WithCancel(context.Background())
	settings := options(o.config)
	if o.config.Mode == Cluster {
		cl := settings.Cluster()
		cl.Dialer, cl.TLSConfig = o.dialer.dial, o.dialer.tls
		cl.NewClient = func(node *goredis.Options) *goredis.Client {
			client := goredis.NewClient(node)
			o.watch(client)
			return client
		}
		l.client = goredis.NewClusterClient(cl)
		return l
	}
	s := settings.Simple()
	s.Dialer = o.dialer.dial
	if o.sentinels != nil {
		s.Addr, s.Dialer = o.config.MasterName, func(ctx context.Context, network, _ string) (net.Conn, error) { return o.dialMaster(ctx, network, l) }
	}
	client := goredis.NewClient(s)
	o.watch(client)
	l.client = client
	return l
}

// dialMaster connects to the master that Sentinel names. All connections of a link lead to the same server.
func (o *opener) dialMaster(ctx context.Context, network string, l *link) (net.Conn, error) {
	addr, err := o.sentinels.master(ctx)
	if err != nil {
		return nil, err
	}
	if !l.master.CompareAndSwap(nil, &addr) && *l.master.Load() != addr {
		o.moved(l)
		return nil, fmt.Errorf("the master has moved to %s", addr)
	}
	return o.dialer.dial(ctx, network, addr)
}

func options(c Config) *goredis.UniversalOptions {
	return &goredis.UniversalOptions{
		Addrs: slices.Clone(c.Addresses), DB: c.Database, Protocol: 2, DisableIdentity: true,
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
