package boilerplate

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/posterndev/postern/api/check"
)

// maxRedisAddresses is the maximum of a SidecarClass.
const maxRedisAddresses = 32

// Redis is where a store is, as a SidecarClass has it. Password is never written.
type Redis struct {
	Mode, MasterName   string
	Addresses          []string
	Database           int
	Username, Password string
	TLS                bool
	// Dropped are the parameters of the URL that have no field, by name.
	Dropped []string
	// passwordName is the variable with the password if it is one of its own. unknown is why its value is not known, or "".
	passwordName, unknown string
}

func (r *Redis) hasPassword() bool { return r.Password != "" || r.unknown != "" }

// ParseRedisURL reads redis:// and rediss:// (TLS) with user, password and database, and what clients of Sentinel and Cluster read:
// redis+sentinel://:password@host:26379,host:26379/master/0 and redis+cluster://host:6379,host:6379. Errors never quote the URL, which may
// have a password.
func ParseRedisURL(text string) (*Redis, error) {
	if len(text) > 4096 {
		return nil, errors.New("the URL has more than 4096 bytes")
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return nil, errors.New("it is not a URL such as redis://redis.example.com:6379/0")
	}
	r := &Redis{}
	port := "6379"
	switch strings.ToLower(scheme) {
	case "redis", "valkey":
	case "rediss", "valkeys":
		r.TLS = true
	case "redis+sentinel", "sentinel", "redis-sentinel":
		r.Mode, port = "Sentinel", "26379"
	case "rediss+sentinel", "rediss-sentinel":
		r.Mode, port, r.TLS = "Sentinel", "26379", true
	case "redis+cluster", "redis-cluster":
		r.Mode = "Cluster"
	case "rediss+cluster", "rediss-cluster":
		r.Mode, r.TLS = "Cluster", true
	case "unix", "redis+socket", "redis-socket":
		return nil, errors.New("it is a socket of the machine, which no sidecar reaches; run Redis at an address")
	default:
		return nil, errors.New("its scheme is not redis, rediss, redis+sentinel or redis+cluster")
	}
	rest, fragment, _ := strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	// A password may have a slash, because not every client wants it encoded: the last @ ends it.
	at := strings.LastIndexByte(rest, '@')
	if at >= 0 {
		if err := r.user(rest[:at]); err != nil {
			return nil, err
		}
	}
	hosts, path, _ := strings.Cut(rest[at+1:], "/")
	if err := r.hosts(hosts, port); err != nil {
		return nil, err
	}
	if err := r.path(path, fragment); err != nil {
		return nil, err
	}
	if err := r.query(query); err != nil {
		return nil, err
	}
	return r, r.complete()
}

func (r *Redis) user(text string) (err error) {
	name, password, ok := strings.Cut(text, ":")
	if !ok {
		name, password = "", text // redis://password@host, as some clients accept it
	}
	if r.Username, err = url.PathUnescape(name); err != nil {
		return errors.New("its user name is not percent-encoded")
	}
	if r.Password, err = url.PathUnescape(password); err != nil {
		return errors.New("its password is not percent-encoded")
	}
	return nil
}

// hosts reads a list with commas. A host without port has the given one.
func (r *Redis) hosts(list, port string) error {
	for host := range strings.SplitSeq(list, ",") {
		host = strings.TrimSpace(host)
		if host == "" {
			return errors.New("a host is missing")
		}
		address := host
		if h, _, err := net.SplitHostPort(host); err != nil {
			address = net.JoinHostPort(strings.Trim(host, "[]"), port)
		} else if h == "" {
			return errors.New("a host is missing")
		}
		if err := check.RedisAddress(address); err != nil || strings.ContainsFunc(address, func(c rune) bool { return c <= ' ' || c > 0x7e || strings.ContainsRune(`/@\"'`, c) }) {
			return errors.New("a host in it is not host:port")
		}
		if len(address) > 260 || len(r.Addresses) == maxRedisAddresses {
			return fmt.Errorf("it has a host of more than 260 bytes, or more than %d hosts", maxRedisAddresses)
		}
		if !slices.Contains(r.Addresses, address) {
			r.Addresses = append(r.Addresses, address)
		}
	}
	return nil
}

// path reads /database, or /master/database of Sentinels. Lettuce has the master in the fragment.
func (r *Redis) path(path, fragment string) error {
	path = strings.TrimSuffix(path, "/")
	if r.Mode == "Sentinel" {
		name, database, both := strings.Cut(path, "/")
		switch {
		case both || strings.Trim(path, "0123456789") != "":
			r.MasterName, path = name, database
		default:
			r.MasterName = fragment
		}
	}
	return r.database(path)
}

func (r *Redis) database(text string) error {
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 14)
	if err != nil {
		return errors.New("its database is not a number from 0 to 16383")
	}
	r.Database = int(n)
	return nil
}

func (r *Redis) query(text string) error {
	values, err := url.ParseQuery(text)
	if err != nil {
		return errors.New("its query is not valid")
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := values.Get(name)
		switch strings.ToLower(name) {
		case "db", "database":
			if err := r.database(value); err != nil {
				return err
			}
		case "ssl", "tls":
			r.TLS = r.TLS || isTrue(value)
		case "password":
			r.Password = value
		case "username", "user":
			r.Username = value
		case "service_name", "sentinelmasterid", "master", "mastername":
			r.MasterName = value
		default:
			r.Dropped = append(r.Dropped, name)
		}
	}
	return nil
}

// complete sets the mode, and refuses what no class accepts.
func (r *Redis) complete() error {
	if r.Mode == "" && r.MasterName != "" {
		r.Mode = "Sentinel"
	}
	if r.Mode == "" {
		r.Mode = "Standalone"
	}
	switch {
	case r.Mode == "Standalone" && len(r.Addresses) != 1:
		return errors.New("it has several hosts, and does not say whether they are Sentinels or a Cluster: write redis+sentinel:// or redis+cluster://")
	case r.Mode == "Sentinel" && !plain(r.MasterName, 128):
		return errors.New("the name of the master is missing, or is not printable: write redis+sentinel://host:26379/mymaster/0")
	case r.Mode == "Cluster" && r.Database != 0:
		return errors.New("a Redis Cluster has database 0 only")
	case r.Username != "" && !r.hasPassword():
		return errors.New("it has a user without a password")
	case !plain(r.Username, 128) && r.Username != "":
		return errors.New("its user name is not printable, or has more than 128 bytes")
	}
	return nil
}

// plain reports whether text is printable ASCII of 1 to most bytes.
func plain(text string, most int) bool {
	return text != "" && len(text) <= most && !strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > 0x7e })
}

func isTrue(text string) bool {
	return slices.Contains([]string{"1", "true", "yes", "on"}, strings.ToLower(strings.TrimSpace(text)))
}
