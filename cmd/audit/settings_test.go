package main

import (
	"strings"
	"testing"
	"time"
)

// environment returns settings that are valid, with changes.
func environment(changes map[string]string) func(string) string {
	all := map[string]string{
		envRedis:    `{"mode": "Standalone", "addresses": ["redis:6379"], "password": {"name": "redis", "key": "password"}, "timeout": "100ms"}`,
		envDatabase: `{"address": "postgres:5432", "name": "postern", "user": {"name": "db", "key": "user"}, "password": {"name": "db", "key": "password"}, "tls": {}}`,
	}
	for name, value := range changes {
		all[name] = value
	}
	return func(name string) string { return all[name] }
}

func TestSettings(t *testing.T) {
	s, err := readSettings(environment(map[string]string{envName: "audit-1"}))
	if err != nil {
		t.Fatal(err)
	}
	if s.redis.Addresses[0] != "redis:6379" || s.redis.Timeout.Std() != 100*time.Millisecond || s.database.TLS == nil || s.database.Password.Name != "db" ||
		s.name != "audit-1" || s.listen != ":8080" || s.secretsDir != "/var/run/postern/secrets" || s.vault != nil {
		t.Errorf("%+v", s)
	}
}

func TestSettingsRefused(t *testing.T) {
	const database = `{"address": "a:1", "name": "n", "tls": {}`
	for name, tt := range map[string]struct {
		changes map[string]string
		want    string
	}{
		"no Redis":            {map[string]string{envRedis: ""}, envRedis + " is not set"},
		"no database":         {map[string]string{envDatabase: ""}, envDatabase + " is not set"},
		"not JSON":            {map[string]string{envDatabase: "{"}, "decoding " + envDatabase},
		"two objects":         {map[string]string{envRedis: "{}{}"}, "something follows"},
		"an unknown field":    {map[string]string{envDatabase: database + `, "sslmode": "disable"}`}, `unknown field "sslmode"`},
		"no credentials":      {map[string]string{envDatabase: database + `}`}, "either vaultPath, or user and password"},
		"no password":         {map[string]string{envDatabase: database + `, "user": {"name": "db", "key": "user"}}`}, "either vaultPath, or user and password"},
		"two credentials":     {map[string]string{envDatabase: database + `, "vaultPath": "database/creds/x", "user": {"name": "db", "key": "user"}, "password": {"name": "db", "key": "p"}}`}, "either vaultPath"},
		"no Vault":            {map[string]string{envDatabase: database + `, "vaultPath": "database/creds/x"}`}, envVault + " is not set"},
		"no Vault for Redis":  {map[string]string{envRedis: `{"password": {"vaultPath": "secret/redis", "key": "p"}}`}, envVault + " is not set"},
		"an invalid duration": {map[string]string{envRedis: `{"timeout": "soon"}`}, "soon"},
		"a level":             {map[string]string{envLogLevel: "loud"}, envLogLevel},
		"both":                {map[string]string{envRedis: "", envLogLevel: "loud"}, envRedis + " is not set\n" + envLogLevel},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := readSettings(environment(tt.changes)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("readSettings = %v; want %q", err, tt.want)
			}
		})
	}
}
