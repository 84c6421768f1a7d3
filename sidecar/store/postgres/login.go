package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// login is what a connection logged in with.
type login struct {
	user     string
	password secret.Value
}

// loginKey is where a connection keeps its login.
const loginKey = "postern.login"

// logIn sets the credentials of a new connection.
func (p *Pool) logIn(ctx context.Context, settings *pgx.ConnConfig) error {
	password, err := p.config.logIn(ctx, settings)
	if err == nil {
		p.password.Store(&password)
	}
	return err
}

// logIn sets the present credentials in settings.
func (c Config) logIn(ctx context.Context, settings *pgx.ConnConfig) (password secret.Value, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.ConnectTimeout)
	defer cancel()
	user, password, _, err := c.Credentials.Credentials(ctx)
	if err != nil {
		return secret.Value{}, fmt.Errorf("reading credentials: %w", err)
	}
	// The server's protocol ends both with a zero byte, and what follows would be another parameter.
	if bytes.IndexByte([]byte(user), 0) >= 0 || bytes.IndexByte(password.Reveal(), 0) >= 0 {
		return secret.Value{}, errors.New("the user or the password of the database has a zero byte")
	}
	settings.User, settings.Password = user, string(password.Reveal())
	return password, nil
}

// loggedIn notes what the connection logged in with.
func (p *Pool) loggedIn(_ context.Context, conn *pgx.Conn) error {
	c := conn.Config()
	conn.PgConn().CustomData()[loginKey] = login{user: c.User, password: secret.New([]byte(c.Password))}
	p.metrics.connects.Inc()
	return nil
}

// usable reports whether a connection may be used: its credentials are still the present ones. A connection in use is not disturbed.
// The monitor looks at the idle ones.
func (p *Pool) usable(ctx context.Context, conn *pgx.Conn) (bool, error) {
	return p.current(ctx, conn), nil
}

// current reports whether the credentials of a connection are the present ones. While those cannot be read, the server decides.
func (p *Pool) current(ctx context.Context, conn *pgx.Conn) bool {
	user, password, valid, err := p.config.Credentials.Credentials(ctx)
	if err != nil {
		return true
	}
	held, ok := conn.PgConn().CustomData()[loginKey].(login)
	if !ok || held.user != user || !held.password.Equal(password) {
		return false
	}
	return valid.IsZero() || time.Now().Before(valid)
}

// rejected tells the credentials that the server rejected a login, if that is why err came.
func (p *Pool) rejected(err error) {
	var connecting *pgconn.ConnectError
	var refusal *pgconn.PgError
	who, ok := p.config.Credentials.(Rejecter)
	if ok && errors.As(err, &connecting) && errors.As(err, &refusal) && strings.HasPrefix(refusal.Code, classRejected) {
		who.Rejected(connecting.Config.User)
	}
}
