package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/audit/auditsql"
	"github.com/posterndev/postern/sidecar/audit/auditsql/auditsqltest"
	"github.com/posterndev/postern/sidecar/store/postgrestest"
)

// TestMaintain runs the command as the CronJob of the chart does. It makes and drops partitions, does nothing while another process is at it,
// and cannot run with the login of the writers.
func TestMaintain(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t, postgrestest.Options{TLS: true})
	db := auditsqltest.New(t, server)
	dir := t.TempDir()
	for _, role := range []string{auditsql.Owner, auditsql.Writer} {
		user, password := server.User(t, role)
		write(t, dir, role, "user", user)
		write(t, dir, role, "password", password)
	}
	as := func(role string) (log string, err error) {
		s, err := readMaintenance(func(name string) string {
			return map[string]string{
				envDatabase: fmt.Sprintf(`{"address": %q, "name": %q, "user": {"name": %q, "key": "user"}, "password": {"name": %q, "key": "password"}, "tls": {"caBundle": %q}}`,
					server.Addr, db.Name, role, role, server.CABundle),
				envMaintenance: `{"retentions": [30, 400], "monthsAhead": 1}`, "POSTERN_SECRETS_DIR": dir,
			}[name]
		})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		err = maintain(t.Context(), s, slog.New(slog.NewTextHandler(&b, nil)))
		return b.String(), err
	}
	server.Do(t, db.Name, `INSERT INTO audit_logs (id, writer, seq, hash, record, time, retain_days)
		VALUES (gen_random_uuid(), gen_random_uuid(), 1, sha256('\x00'), '', now() - interval '90 days', 30)`)
	if log, err := as(auditsql.Owner); err != nil || !strings.Contains(log, "made=7 dropped=1 ") {
		t.Errorf("%v: %s", err, log)
	}
	if log, err := as(auditsql.Owner); err != nil || !strings.Contains(log, "made=0 dropped=0 ") {
		t.Errorf("again: %v: %s", err, log)
	}
	if _, err := as(auditsql.Writer); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("as a writer: %v", err)
	}
	conn := server.Connect(t, db.Name)
	if _, err := conn.Exec(t.Context(), "SELECT pg_advisory_lock($1)", int64(0x706f7374_02)); err != nil {
		t.Fatal(err)
	}
	if log, err := as(auditsql.Owner); err != nil || !strings.Contains(log, "another process maintains the audit trail") {
		t.Errorf("beside another one: %v: %s", err, log)
	}
}

func TestMaintenanceSettings(t *testing.T) {
	good := environment(map[string]string{envRedis: ""})
	if s, err := readMaintenance(good); err != nil || s.database.Name != "postern" || s.maintenance.Retentions != nil {
		t.Errorf("%+v, %v", s, err)
	}
	for name, changes := range map[string]map[string]string{
		"no database": {envDatabase: ""}, "an unknown field": {envMaintenance: `{"months": 1}`}, "not JSON": {envMaintenance: "3"},
	} {
		if _, err := readMaintenance(environment(changes)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
