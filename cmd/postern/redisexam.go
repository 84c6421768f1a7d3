//go:build !nocluster

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/cmd/postern/internal/doctor"
)

// redisPassword is the environment variable with the password, which redis-cli reads too. An argument could be seen by other users of the
// machine.
const redisPassword = "REDISCLI_AUTH"

// examineRedis connects to Redis, and asks for its version, its policy and what the user may do with keys of the namespace. It writes nothing.
func examineRedis(ctx context.Context, address, caFile, namespace string) (doctor.Redis, error) {
	options, shown, err := redisOptions(address, caFile)
	if err != nil {
		return doctor.Redis{}, err
	}
	r := doctor.Redis{Address: shown}
	c := redis.NewClient(options)
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*connectTimeout)
	defer cancel()
	info, err := c.Info(ctx).Result()
	switch {
	case denied(err):
		r.Denied = append(r.Denied, "info")
	case err != nil:
		return r, fmt.Errorf("connecting to Redis at %s: %w", shown, err)
	}
	r.Version, r.Policy = infoField(info, "redis_version"), infoField(info, "maxmemory_policy")
	r.Denied = append(r.Denied, deniedOf(ctx, c, namespace)...)
	r.Wide = options.Username != "" && !denied(c.Get(ctx, "doctor:not-a-key-of-postern").Err())
	return r, nil
}

// redisOptions returns the options for the URL, and the address without the user.
func redisOptions(address, caFile string) (*redis.Options, string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Host == "" {
		return nil, "", errors.New("--redis is not a URL like rediss://USER@HOST:6379")
	}
	if _, ok := u.User.Password(); ok {
		return nil, "", fmt.Errorf("--redis has a password, which other users of this machine can see: set %s in its place", redisPassword)
	}
	options, err := redis.ParseURL(address)
	if err != nil {
		return nil, "", fmt.Errorf("--redis: %w", err)
	}
	options.Password = os.Getenv(redisPassword)
	options.MaxRetries, options.PoolSize, options.DialTimeout, options.ReadTimeout = -1, 1, connectTimeout, connectTimeout
	options.DisableIdentity = true // sidecars' users may not run CLIENT
	if caFile != "" {
		if options.TLSConfig == nil {
			return nil, "", errors.New("--redis-ca needs a URL that begins with rediss://")
		}
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, "", fmt.Errorf("reading --redis-ca: %w", err)
		}
		options.TLSConfig = &tls.Config{ServerName: u.Hostname(), RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		if !options.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, "", fmt.Errorf("--redis-ca %s has no certificate", caFile)
		}
	}
	return options, u.Host, nil
}

// redisProbes are commands that sidecars need, in a form that writes nothing: each fails before it writes, or only reads. Key stands for a
// key of Postern's that does not exist.
var redisProbes = [][]any{
	{"evalsha", "0000000000000000000000000000000000000000", 1, "KEY"}, {"eval", "return 1", 1, "KEY"}, {"get", "KEY"}, {"mget", "KEY"}, {"exists", "KEY"},
	{"pttl", "KEY"}, {"hget", "KEY", "f"}, {"hmget", "KEY", "f"}, {"hgetall", "KEY"}, {"hscan", "KEY", 0}, {"zcard", "KEY"}, {"zcount", "KEY", 0, 1},
	{"zrange", "KEY", 0, 1}, {"zrangebyscore", "KEY", 0, 1}, {"zrevrange", "KEY", 0, 1}, {"time"}, {"del", "KEY"}, {"hdel", "KEY", "f"}, {"zrem", "KEY", "m"},
	{"pexpire", "KEY", 1}, {"set", "KEY", "v", "xx"}, {"xread", "count", 1, "streams", "KEY", "0"},
}

// deniedOf returns the commands that the user may not run. hset, zadd and xadd cannot be tried without a write.
func deniedOf(ctx context.Context, c *redis.Client, namespace string) []string {
	policy := namespace + "/doctor"
	key := fmt.Sprintf("postern:ratelimit:{%d:%s}:absent", len(policy), policy)
	var out []string
	for _, probe := range redisProbes {
		args := make([]any, len(probe))
		for i, a := range probe {
			if args[i] = a; a == "KEY" {
				args[i] = key
			}
		}
		if denied(c.Do(ctx, args...).Err()) {
			out = append(out, probe[0].(string))
		}
	}
	return out
}

func denied(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOPERM") }

// infoField returns a field of the reply of INFO.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value[:min(len(value), 32)]
		}
	}
	return ""
}
