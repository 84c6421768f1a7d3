// Package auditsqltest makes databases of the audit trail for tests.
package auditsqltest

import (
	"log/slog"
	"sync"
	"testing"

	"github.com/posterndev/postern/sidecar/audit/auditsql"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
)

// Database is a database with the roles and the schema of the audit trail.
type Database struct {
	Server *postgrestest.Server
	Name   string
}

// roles is held while the roles are made: they belong to the server, and may be made only once.
var roles sync.Mutex

// New makes an empty trail in a new database of server.
func New(tb testing.TB, server *postgrestest.Server) *Database {
	tb.Helper()
	d := &Database{Server: server, Name: server.Database(tb)}
	d.Roles(tb)
	config, err := server.Config(postgrestest.Superuser, server.Password, d.Name)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := auditsql.Migrate(tb.Context(), config, slog.New(slog.DiscardHandler)); err != nil {
		tb.Fatal(err)
	}
	return d
}

// Roles makes the roles.
func (d *Database) Roles(tb testing.TB) {
	tb.Helper()
	roles.Lock()
	defer roles.Unlock()
	d.Server.Do(tb, d.Name, auditsql.Roles)
}
