package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// maxSentinels bounds the sentinels that are asked: the configured ones, and others that they know.
const maxSentinels = 16

// sentinels asks the Sentinels for the master. It believes a sentinel only if that sentinel reaches a majority of all sentinels,
// itself included: one that is cut off together with an old master does not know of a promotion.
type sentinels struct {
	name     string
	timeout  time.Duration
	password secret.Source
	dialer   *dialer

	mu sync.Mutex
	// addresses are asked in this order. One that fails is moved to the end.
	addresses []string
	clients   map[string]*goredis.Client
	closed    bool
}

func newSentinels(c Config, d *dialer) *sentinels {
	return &sentinels{
		name: c.MasterName, timeout: c.Timeout, password: c.SentinelPassword, dialer: d,
		addresses: slices.Clone(c.Addresses), clients: map[string]*goredis.Client{},
	}
}

// master returns the master's address.
func (s *sentinels) master(ctx context.Context) (string, error) {
	var errs []error
	for range maxSentinels {
		addr, client, err := s.first()
		if err != nil {
			return "", err
		}
		master, peers, err := s.ask(ctx, client)
		if err == nil {
			s.learn(peers)
			return master, nil
		}
		errs = append(errs, fmt.Errorf("asking sentinel %s for the master: %w", addr, err))
		if last := s.demote(addr); last || ctx.Err() != nil || len(errs) >= s.count() {
			break
		}
	}
	return "", errors.Join(errs...)
}

// ask returns the master and the addresses of the other sentinels.
func (s *sentinels) ask(ctx context.Context, client *goredis.Client) (master string, peers []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, max(s.timeout, minDialTimeout/2))
	defer cancel()
	var named, others *goredis.Cmd
	_, _ = client.Pipelined(ctx, func(p goredis.Pipeliner) error { // each command has its error
		named = p.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.name)
		others = p.Do(ctx, "SENTINEL", "SENTINELS", s.name)
		return nil
	})
	addr, err := named.StringSlice()
	if errors.Is(err, goredis.Nil) {
		return "", nil, fmt.Errorf("it knows no master %q", s.name)
	}
	if err != nil {
		return "", nil, err
	}
	list, err := others.Slice()
	if err != nil {
		return "", nil, err
	}
	if len(addr) != 2 {
		return "", nil, errors.New("its reply is not an address")
	}
	reached, peers := reachable(list)
	if total := len(list) + 1; 2*(reached+1) <= total {
		return "", nil, fmt.Errorf("it reaches %d of the %d other sentinels, and may not know of a failover", reached, total-1)
	}
	return net.JoinHostPort(addr[0], addr[1]), peers, nil
}

// reachable counts the sentinels of a reply that the replying one reaches, and returns their addresses.
func reachable(list []any) (n int, addresses []string) {
	for _, one := range list {
		fields, _ := one.([]any)
		about := map[string]string{}
		for i := 0; i+1 < len(fields); i += 2 {
			name, _ := fields[i].(string)
			about[name], _ = fields[i+1].(string)
		}
		flags := strings.Split(about["flags"], ",")
		if about["flags"] == "" || slices.ContainsFunc(flags, func(f string) bool { return f == "s_down" || f == "o_down" || f == "disconnected" }) {
			continue
		}
		n++
		if about["ip"] != "" && about["port"] != "" {
			addresses = append(addresses, net.JoinHostPort(about["ip"], about["port"]))
		}
	}
	return n, addresses
}

// first returns the sentinel to ask, with its client.
func (s *sentinels) first() (string, *goredis.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", nil, goredis.ErrClosed
	}
	addr := s.addresses[0]
	client := s.clients[addr]
	if client == nil {
		client = goredis.NewClient(s.options(addr))
		s.clients[addr] = client
	}
	return addr, client, nil
}

func (s *sentinels) options(addr string) *goredis.Options {
	o := options(Config{Addresses: []string{addr}, Timeout: s.timeout}).Simple()
	o.PoolSize, o.MaxActiveConns = 2, 2
	o.Dialer = func(ctx context.Context, _, addr string) (net.Conn, error) {
		return s.dialer.dialSentinel(ctx, addr, s.password)
	}
	return o
}

// demote moves addr to the end, and reports whether there is no other.
func (s *sentinels) demote(addr string) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addresses[0] == addr {
		s.addresses = append(s.addresses[1:], addr)
	}
	return len(s.addresses) == 1
}

func (s *sentinels) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.addresses)
}

// learn adds other sentinels.
func (s *sentinels) learn(peers []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, addr := range peers {
		if len(s.addresses) < maxSentinels && !slices.Contains(s.addresses, addr) {
			s.addresses = append(s.addresses, addr)
		}
	}
}

func (s *sentinels) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, client := range s.clients {
		_ = client.Close()
	}
}
