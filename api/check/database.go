package check

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"

	"github.com/posterndev/postern/api/compiled"
)

// Bounds of a database: the connections of one sidecar, and the length of a name in PostgreSQL, in bytes (NAMEDATALEN - 1).
const (
	maxDatabaseConnections = 4
	maxDatabaseName        = 63
)

// DatabaseAddress refuses an address that is not host:port.
func DatabaseAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || !isPort(port) {
		return fmt.Errorf("%.128q is not host:port; write for example postgres.platform.svc:5432", address)
	}
	return nil
}

var credentialsPath = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`/(static-)?creds/[^/]+$`) })

// DatabaseCredentialsPath refuses a text that is not the path of a role's credentials in Vault's database engine.
func DatabaseCredentialsPath(path string) error {
	if err := VaultPath(path); err != nil {
		return err
	}
	if !credentialsPath().MatchString(path) {
		return fmt.Errorf("%.64q is not the path of credentials in Vault's database engine; write the mount, creds and the role, for example database/creds/postern-audit", path)
	}
	return nil
}

// database checks a section of the SidecarClass.
func (c *checker) database(p *compiled.Policy) {
	const field = "sidecarClass.spec.database"
	d := p.Database
	if d == nil {
		return
	}
	c.add(field+".via", oneOf(d.Via, compiled.ViaDirect, compiled.ViaRedisStream))
	if d.Via == compiled.ViaRedisStream {
		if p.Redis == nil {
			c.addf(field+".via", "RedisStream needs a Redis; add spec.redis to the SidecarClass, for example {addresses: [\"redis.platform.svc:6379\"]}, or write Direct")
		}
		return
	}
	c.add(field+".address", DatabaseAddress(d.Address))
	c.add(field+".name", databaseName(d.Name))
	if d.MaxConnections < 1 || d.MaxConnections > maxDatabaseConnections {
		c.addf(field+".maxConnections", "%d is not between 1 and %d; write a number in that range, for example 2", d.MaxConnections, maxDatabaseConnections)
	}
	c.databaseCredentials(field+".credentials", d)
	if d.TLS != nil {
		_, err := Certificates([]byte(d.TLS.CABundle))
		c.add(field+".tls.caBundle", err)
	}
}

// databaseName refuses the name of a database that a connection string or a log could not hold.
func databaseName(name string) error {
	if name == "" || len(name) > maxDatabaseName || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("it is not the name of a database; write 1 to 63 bytes without control characters, for example postern")
	}
	return nil
}

func (c *checker) databaseCredentials(field string, d *compiled.Database) {
	switch {
	case d.VaultPath != "" && d.User == nil && d.Password == nil:
		c.add(field+".vault.path", DatabaseCredentialsPath(d.VaultPath))
	case d.VaultPath == "" && d.User != nil && d.Password != nil:
		c.secret(field+".userRef", d.User)
		c.secret(field+".passwordRef", d.Password)
	default:
		c.addf(field, "write either vault, or userRef and passwordRef, for example {vault: {path: database/creds/postern-audit}}")
	}
}
