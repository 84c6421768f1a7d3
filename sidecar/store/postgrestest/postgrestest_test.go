package postgrestest

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestServer(t *testing.T) {
	tests := map[string]Options{
		"plain":    {},
		"TLS":      {TLS: true},
		"settings": {Settings: []string{"max_connections=7"}},
	}
	for name, o := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := Start(t, o)
			db := s.Database(t)
			s.Do(t, db, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1)")
			s.Pause(t)
			s.Resume(t)
			s.Restart(t)
			var n, limit int
			var encrypted bool
			conn := s.Connect(t, db)
			err := conn.QueryRow(t.Context(), `SELECT n, current_setting('max_connections')::int,
				(SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) FROM kept`).Scan(&n, &limit, &encrypted)
			if err != nil || n != 1 || encrypted != o.TLS || (limit == 7) != (o.Settings != nil) {
				t.Errorf("after a restart: n %d, %d connections, encrypted %v, %v", n, limit, encrypted, err)
			}
		})
	}
}

func TestBouncer(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{})
	name, password := s.User(t)
	b := StartBouncer(t, s, [2]string{name, password})
	through := &Server{Addr: b.Addr}
	config, err := through.Config(name, password, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var user string
	if err := conn.QueryRow(t.Context(), "SELECT current_user").Scan(&user); err != nil || user != name {
		t.Errorf("the user is %q, %v", user, err)
	}
}
