package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/posterndev/postern/api/compiled"
)

// The names of the settings. The folders of Secrets and the file of Vault's token have the names that a sidecar's have.
const (
	// envRedis and envVault are a compiled.Redis and a compiled.Vault as JSON; envDatabase is a database.
	envRedis    = "POSTERN_AUDIT_REDIS"
	envDatabase = "POSTERN_AUDIT_DATABASE"
	envVault    = "POSTERN_AUDIT_VAULT"
	// envName is the name of the writer, which no other one has. It defaults to the name of the host, which is that of the pod.
	envName = "POSTERN_AUDIT_NAME"
	// envListen is the address of health and metrics.
	envListen = "POSTERN_AUDIT_LISTEN"
	// envLogLevel is debug, info, warn or error.
	envLogLevel = "POSTERN_LOG_LEVEL"
)

// database is the PostgreSQL of the audit trail.
type database struct {
	Address string `json:"address"`
	Name    string `json:"name"`
	// VaultPath, or User and Password, are the credentials.
	VaultPath string              `json:"vaultPath,omitempty"`
	User      *compiled.SecretRef `json:"user,omitempty"`
	Password  *compiled.SecretRef `json:"password,omitempty"`
	// TLS is nil if the connection is not encrypted.
	TLS            *databaseTLS `json:"tls,omitempty"`
	MaxConnections int          `json:"maxConnections,omitempty"`
}

type databaseTLS struct {
	CABundle string `json:"caBundle,omitempty"`
	// ServerName is the name in the certificate; by default the host of the address.
	ServerName string `json:"serverName,omitempty"`
}

// settings are all settings.
type settings struct {
	redis                                compiled.Redis
	database                             database
	vault                                *compiled.Vault
	maintenance                          maintenance
	name, listen, secretsDir, vaultToken string
	level                                slog.Level
}

// readSettings reads the settings. Its error lists everything that is invalid.
func readSettings(getenv func(string) string) (s settings, err error) {
	var errs []error
	check := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	check(decode(getenv, envRedis, &s.redis))
	check(decode(getenv, envDatabase, &s.database))
	if getenv(envVault) != "" {
		check(decode(getenv, envVault, &s.vault))
	}
	or := func(name, otherwise string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return otherwise
	}
	host, _ := os.Hostname() // without it the name must be set, which drain.New checks
	s.name, s.listen = or(envName, host), or(envListen, ":8080")
	s.secretsDir, s.vaultToken = or(compiled.EnvSecretsDir, compiled.SecretsDir), or(compiled.EnvVaultTokenFile, compiled.VaultTokenFile)
	if err := s.level.UnmarshalText([]byte(or(envLogLevel, "info"))); err != nil {
		check(fmt.Errorf("%s: %w", envLogLevel, err))
	}
	if len(errs) == 0 {
		check(s.checkCredentials())
	}
	return s, errors.Join(errs...)
}

// decode decodes the JSON of a variable. Unknown fields are errors, because they would be ignored settings.
func decode(getenv func(string) string, name string, into any) error {
	text := getenv(name)
	if text == "" {
		return fmt.Errorf("%s is not set", name)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("decoding %s: %w", name, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("decoding %s: something follows the JSON", name)
	}
	return nil
}

func (s *settings) checkCredentials() error {
	d := &s.database
	if (d.VaultPath != "") == (d.User != nil && d.Password != nil) {
		return fmt.Errorf("%s: either vaultPath, or user and password, are required", envDatabase)
	}
	refs := []*compiled.SecretRef{d.User, d.Password, s.redis.Password, s.redis.SentinelPassword}
	if t := s.redis.TLS; t != nil {
		refs = append(refs, t.Certificate, t.Key)
	}
	inVault := d.VaultPath != ""
	for _, ref := range refs {
		inVault = inVault || ref != nil && ref.Name == ""
	}
	if inVault && s.vault == nil {
		return fmt.Errorf("a secret is in Vault, but %s is not set", envVault)
	}
	return nil
}
