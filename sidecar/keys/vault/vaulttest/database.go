package vaulttest

import (
	"fmt"
	"testing"
	"time"
)

// ConnectDatabase mounts the database engine at mount, and connects it to the PostgreSQL at addr (host:port) as an administrator.
func (s *Server) ConnectDatabase(tb testing.TB, mount, addr, user, password string) {
	tb.Helper()
	s.Write(tb, "sys/mounts/"+mount, map[string]any{"type": "database"})
	s.Write(tb, mount+"/config/postgres", map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "*",
		"connection_url": fmt.Sprintf("postgresql://{{username}}:{{password}}@%s/postgres?sslmode=disable", addr),
		"username":       user, "password": password,
	})
}

// DatabaseRole makes a role of an engine of ConnectDatabase, whose accounts are made by statements.
func (s *Server) DatabaseRole(tb testing.TB, path string, ttl, most time.Duration, statements ...string) {
	tb.Helper()
	s.Write(tb, path, map[string]any{
		"db_name": "postgres", "creation_statements": statements, "default_ttl": int(ttl.Seconds()), "max_ttl": int(most.Seconds()),
	})
}
