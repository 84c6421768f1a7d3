//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/sidecar/audit/auditsql"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
)

// auditDatabase is a PostgreSQL beside the cluster with the tables of the audit trail. Vault makes an account for each writer.
type auditDatabase struct {
	*postgrestest.Server
	space *space
	name  string
	vault *vaultServer
	// mount is the database engine of Vault, and also the name of Vault's policy and role for the writers.
	mount string
	// keyFile has the master key, ca the authority of the server.
	keyFile, ca string
}

// hostIP is the address of this machine for the pods of the cluster.
func hostIP(t *testing.T) net.IP {
	t.Helper()
	ip := net.ParseIP(os.Getenv("POSTERN_HOST_IP"))
	if ip == nil {
		t.Fatal("POSTERN_HOST_IP is not an address (test/e2e/run.sh sets it)")
	}
	return ip
}

// newAuditDatabase follows docs/audit-database.md: roles, tables, Vault. Pods reach the server as postgres.NAMESPACE.svc:5432, with a
// certificate for the name localhost.
func (s *space) newAuditDatabase(vault *vaultServer) *auditDatabase {
	s.t.Helper()
	host := hostIP(s.t)
	server := postgrestest.Start(s.t, postgrestest.Options{TLS: true, Listen: host})
	d := &auditDatabase{Server: server, space: s, name: server.Database(s.t), vault: vault, mount: "database-" + s.name}
	dir := s.t.TempDir()
	d.keyFile, d.ca = filepath.Join(dir, "key"), filepath.Join(dir, "ca.crt")
	write(s.t, d.ca, string(server.CABundle))
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	write(s.t, d.keyFile, base64.StdEncoding.EncodeToString(key))
	secrets.add("the key of the trail", base64.StdEncoding.EncodeToString(key))
	secrets.add("Vault's password for PostgreSQL", "vault-s3cret")

	roles, err := d.postern(s.t, "", "audit", "roles")
	if err != nil || roles != auditsql.Roles {
		s.t.Fatalf("postern audit roles: %v", err)
	}
	server.Do(s.t, d.name, roles, "CREATE ROLE vault LOGIN CREATEROLE PASSWORD 'vault-s3cret'", "GRANT postern_audit_writer TO vault WITH ADMIN OPTION")
	if out, err := d.postern(s.t, "postern_audit_owner", "audit", "migrate"); err != nil || !strings.Contains(out, "migration 1 applied") {
		s.t.Fatalf("postern audit migrate: %v: %s", err, out)
	}
	_, port, err := net.SplitHostPort(server.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	d.connectVault(s.t, net.JoinHostPort(host.String(), port))
	s.external("postgres", host, port)
	return d
}

// connectVault sets up Vault's database engine, and a role for the sidecars that may use it.
func (d *auditDatabase) connectVault(t *testing.T, address string) {
	t.Helper()
	d.vault.write(t, "sys/mounts/"+d.mount, map[string]any{"type": "database"})
	t.Cleanup(func() {
		_, _ = d.vault.Logical().WriteWithContext(context.Background(), "sys/leases/revoke-force/"+d.mount, nil)
		_ = d.vault.Sys().Unmount(d.mount)
	})
	d.vault.write(t, d.mount+"/config/postern", map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "postern-audit", "username": "vault", "password": "vault-s3cret",
		"connection_url": "postgresql://{{username}}:{{password}}@" + address + "/" + d.name + "?sslmode=verify-full", "tls_ca": string(d.CABundle),
	})
	d.vault.write(t, d.mount+"/roles/postern-audit", map[string]any{
		"db_name": "postern", "default_ttl": "1h", "max_ttl": "24h", "creation_statements": auditsql.VaultWriter, "revocation_statements": `DROP ROLE IF EXISTS "{{name}}";`,
	})
	d.vault.write(t, "sys/policies/acl/"+d.mount, map[string]any{"policy": fmt.Sprintf(`
		path %q { capabilities = ["read"] }
		path "sys/leases/revoke" { capabilities = ["update"] }`, d.credentials())})
	d.grant(t, d.mount, "*", d.space.name)
}

// grant lets a service account of a namespace log in to Vault with a role, and read the account of a writer.
func (d *auditDatabase) grant(t *testing.T, role, account, namespace string) {
	t.Helper()
	d.vault.write(t, "auth/kubernetes/role/"+role, map[string]any{
		"bound_service_account_names": account, "bound_service_account_namespaces": namespace, "audience": "vault",
		"token_policies": []string{"postern", d.mount}, "token_ttl": "1m", "token_max_ttl": "10m",
	})
}

// credentials is the path of the writers' accounts.
func (d *auditDatabase) credentials() string { return d.mount + "/creds/postern-audit" }

// class adds the database and the keys of the trail to the spec of a class.
func (d *auditDatabase) class(t *testing.T, spec map[string]any) {
	t.Helper()
	secret := "secret/e2e/" + d.mount
	key, err := os.ReadFile(d.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	d.vault.put(t, secret, map[string]any{"key": string(key)})
	spec["database"] = d.spec()
	spec["audit"] = map[string]any{"keyRef": map[string]any{"vault": map[string]any{"path": secret, "key": "key"}}, "spool": map[string]any{"maxBytes": "1MiB"}, "checkpointInterval": "1s"}
	spec["vault"].(map[string]any)["auth"] = map[string]any{"kubernetes": map[string]any{"role": d.mount}}
}

// spec is the section database of a class.
func (d *auditDatabase) spec() map[string]any {
	return map[string]any{
		"address": "postgres." + d.space.name + ".svc:5432", "name": d.name, "credentials": map[string]any{"vault": map[string]any{"path": d.credentials()}},
		"tls": map[string]any{"mode": "VerifyFull", "caBundle": string(d.CABundle), "serverName": "localhost"},
	}
}

// external makes a Service for a port of a machine outside of the cluster.
func (s *space) external(name string, ip net.IP, port string) {
	s.t.Helper()
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		s.t.Fatal(err)
	}
	s.create(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: name}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 5432}}}})
	s.create(&discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: s.name, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{ip.String()}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}}},
		Ports:       []discoveryv1.EndpointPort{{Port: ptr.To(int32(number)), Name: ptr.To("")}},
	})
}

// postern runs the command as a person who is a member of a database role, and returns what it prints. An empty role is none.
func (d *auditDatabase) postern(t *testing.T, role string, args ...string) (string, error) {
	t.Helper()
	return output(d.command(t, t.Context(), role, args...))
}

func (d *auditDatabase) command(t *testing.T, ctx context.Context, role string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(ctx, postern(t), args...)
	if role != "" {
		user, password := d.User(t, role)
		host, port, _ := net.SplitHostPort(d.Addr)
		c.Env = append(os.Environ(), "PGHOST="+host, "PGPORT="+port, "PGDATABASE="+d.name, "PGUSER="+user, "PGPASSWORD="+password, "PGSSLROOTCERT="+d.ca)
	}
	return c
}

// output runs a command, and returns its standard output. The error has what it wrote to its standard error.
func output(c *exec.Cmd) (string, error) {
	var out, problems bytes.Buffer
	c.Stdout, c.Stderr = &out, &problems
	err := c.Run()
	if err != nil {
		err = errors.Join(err, errors.New(problems.String()))
	}
	return out.String(), err
}

// query returns the rows of a query as its administrator.
func query[T any](t *testing.T, d *auditDatabase, as pgx.RowToFunc[T], sql string, args ...any) []T {
	t.Helper()
	conn := d.Connect(t, d.name)
	defer conn.Close(context.WithoutCancel(t.Context()))
	result, err := conn.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatalf("%.80q: %v", sql, err)
	}
	got, err := pgx.CollectRows(result, as)
	if err != nil {
		t.Fatalf("%.80q: %v", sql, err)
	}
	return got
}

// number returns the one number of a query.
func (d *auditDatabase) number(t *testing.T, sql string, args ...any) int {
	t.Helper()
	return query(t, d, pgx.RowTo[int], sql, args...)[0]
}
