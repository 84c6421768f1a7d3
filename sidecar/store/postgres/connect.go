package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Connect makes one connection for long work, such as maintenance, without the bounds of a pool: only ctx bounds its use. MaxConns and
// Timeout are ignored. The caller closes the connection.
func Connect(ctx context.Context, c Config) (*pgx.Conn, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	settings, err := c.pool()
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	if _, err := c.logIn(ctx, settings.ConnConfig); err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	conn, err := pgx.ConnectConfig(ctx, settings.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	return conn, nil
}
