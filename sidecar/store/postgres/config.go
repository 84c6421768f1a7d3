// Package postgres is the sidecar's connection to PostgreSQL: a pool of one or two connections, directly or through PgBouncer in
// transaction mode. It is opened once per configuration and outlives policy reloads. Users run their statements through Pool.Do,
// which bounds their time. While PostgreSQL is unavailable, Pool.Do fails at once instead of waiting.
//
// Statements are not prepared on the server (pgx.QueryExecModeExec), because PgBouncer may run each transaction on another
// connection. For the same reason users set nothing that outlives a transaction.
package postgres

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

// TLSMode says whether connections are encrypted.
type TLSMode string

// The modes, as SidecarClass spells them.
const (
	// Disable is plain TCP.
	Disable TLSMode = "Disable"
	// VerifyFull is TLS. The server's certificate must be valid for the host of the address.
	VerifyFull TLSMode = "VerifyFull"
)

// Defaults and bounds of a Config.
const (
	DefaultMaxConns       = 2
	DefaultConnectTimeout = 3 * time.Second
	DefaultTimeout        = 10 * time.Second

	maxConns   = 16
	maxTimeout = time.Minute
)

// maxIdle is how long an idle connection is kept: a server has few of them, and many sidecars.
const maxIdle = 5 * time.Minute

// applicationName is shown in pg_stat_activity.
const applicationName = "postern"

// Credentials give the login. They are asked for each new connection, and before each use of an existing one, so they answer from
// memory or a file. They are safe for concurrent use.
type Credentials interface {
	// Credentials returns the present user and password. They can be used until valid, or without end if it is zero. Errors do not
	// contain the password.
	Credentials(ctx context.Context) (user string, password secret.Value, valid time.Time, err error)
}

// Rejecter are Credentials that want to know when the server rejects a login, because they may have been revoked before their time.
type Rejecter interface {
	// Rejected reports that the server rejected the login of user. It returns at once.
	Rejected(user string)
}

// Login are Credentials that are read from two sources, such as the keys of a Secret.
type Login struct {
	// User is a name or a source of it. UserSource is used if User is empty.
	User       string
	UserSource secret.Source
	// Password is nil if the server asks for none.
	Password secret.Source
}

// Credentials implements Credentials.
func (l Login) Credentials(ctx context.Context) (user string, password secret.Value, valid time.Time, err error) {
	user = l.User
	if user == "" && l.UserSource != nil {
		name, err := l.UserSource.Read(ctx)
		if err != nil {
			return "", secret.Value{}, time.Time{}, fmt.Errorf("reading the user of the database: %w", err)
		}
		user = strings.TrimSpace(string(name.Reveal()))
	}
	if user == "" {
		return "", secret.Value{}, time.Time{}, errors.New("reading the user of the database: it is empty")
	}
	if l.Password == nil {
		return user, secret.Value{}, time.Time{}, nil
	}
	if password, err = l.Password.Read(ctx); err != nil {
		return "", secret.Value{}, time.Time{}, fmt.Errorf("reading the password of the database: %w", err)
	}
	return user, password, time.Time{}, nil
}

// Config configures a Pool. Address, Name, Credentials and TLS are required.
type Config struct {
	// Address is host:port.
	Address string
	// Name is the name of the database.
	Name        string
	Credentials Credentials
	TLS         TLSMode
	// CABundle holds the accepted authorities as PEM. It defaults to the authorities of the system.
	CABundle []byte
	// ServerName is the name in the server's certificate. It defaults to the host of Address.
	ServerName string
	// MaxConns is the size of the pool. It defaults to DefaultMaxConns.
	MaxConns int
	// ConnectTimeout bounds making one connection, with the login. It defaults to DefaultConnectTimeout.
	ConnectTimeout time.Duration
	// Timeout bounds one call of Do, with waiting for a connection. It defaults to DefaultTimeout.
	Timeout time.Duration
}

// withDefaults returns c with defaults. The error says what to change.
func (c Config) withDefaults() (Config, error) {
	if c.MaxConns == 0 {
		c.MaxConns = DefaultMaxConns
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = DefaultConnectTimeout
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	switch {
	case c.Name == "":
		return c, errors.New("the name of the database is empty")
	case c.Credentials == nil:
		return c, errors.New("there are no credentials")
	case c.TLS != Disable && c.TLS != VerifyFull:
		return c, fmt.Errorf("TLS mode %q is not %s or %s", c.TLS, Disable, VerifyFull)
	case c.TLS == Disable && (len(c.CABundle) > 0 || c.ServerName != ""):
		return c, fmt.Errorf("a CA bundle and a server name are allowed only in TLS mode %s", VerifyFull)
	case c.MaxConns < 1 || c.MaxConns > maxConns:
		return c, fmt.Errorf("%d connections are not between 1 and %d", c.MaxConns, maxConns)
	case c.ConnectTimeout < time.Millisecond || c.ConnectTimeout > maxTimeout, c.Timeout < time.Millisecond || c.Timeout > maxTimeout:
		return c, fmt.Errorf("timeouts %s and %s are not between 1ms and %s", c.ConnectTimeout, c.Timeout, maxTimeout)
	}
	_, _, err := split(c.Address)
	return c, err
}

// split returns the host and the port of an address. A host that is a path would be a socket, and a list would be several servers.
func split(address string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(address)
	number, notPort := strconv.ParseUint(text, 10, 16)
	if err != nil || host == "" || strings.ContainsAny(host, "/,@ ") || notPort != nil || number == 0 {
		return "", 0, fmt.Errorf("address %.128q is not host:port; write for example postgres.example.com:5432", address)
	}
	return host, uint16(number), nil
}

// pool returns the settings of the pgx pool. Nothing of them comes from the environment (PGHOST, PGSERVICE …): only the class decides.
func (c Config) pool() (*pgxpool.Config, error) {
	// The library insists on parsing a text, and reads the environment for all that the text does not say.
	settings, err := pgxpool.ParseConfig("host=localhost port=1 user=x password=x dbname=x sslmode=disable target_session_attrs=any")
	if err != nil {
		return nil, errors.New("making the settings of the connection: a PG environment variable is invalid")
	}
	own := settings.ConnConfig
	if own.Host, own.Port, err = split(c.Address); err != nil {
		return nil, err
	}
	own.Database, own.User, own.Password = c.Name, "", ""
	own.Fallbacks, own.ValidateConnect, own.KerberosSrvName, own.SSLNegotiation = nil, nil, "", ""
	own.RuntimeParams = map[string]string{"application_name": applicationName}
	own.ChannelBinding, own.MinProtocolVersion, own.MaxProtocolVersion = "prefer", "3.0", "3.0"
	own.ConnectTimeout = c.ConnectTimeout
	own.DialFunc = (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
	own.DefaultQueryExecMode, own.StatementCacheCapacity, own.DescriptionCacheCapacity = pgx.QueryExecModeExec, 0, 0
	if err := c.encrypt(own); err != nil {
		return nil, err
	}
	settings.MaxConns, settings.MinConns, settings.MinIdleConns = int32(c.MaxConns), 0, 0
	settings.MaxConnLifetime, settings.MaxConnLifetimeJitter, settings.MaxConnIdleTime = time.Hour, 10*time.Minute, maxIdle
	settings.HealthCheckPeriod, settings.PingTimeout = idleInterval, c.ConnectTimeout
	return settings, nil
}

func (c Config) encrypt(own *pgx.ConnConfig) error {
	if c.TLS == Disable {
		own.TLSConfig = nil
		own.RequireAuth = "!password" // anybody on the way could ask for the password in the clear
		return nil
	}
	roots, err := check.Certificates(c.CABundle)
	if err != nil {
		return err
	}
	own.RequireAuth = ""
	own.TLSConfig = &tls.Config{RootCAs: roots, ServerName: cmp.Or(c.ServerName, own.Host), MinVersion: tls.VersionTLS12}
	return nil
}
