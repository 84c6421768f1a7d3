package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const statement = `INSERT INTO audit_logs (id, writer, seq, hash, record, time, category, action, outcome, subject, ip_address, request_id, policy, pod, retain_days)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 400)`

// insert writes the events of one connection. The rows have what those of the trail have, without a hash chain.
func (s settings) insert(ctx context.Context, part int) error {
	config, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return fmt.Errorf("reading the address: %w", err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("reading the address: %w", err)
	}
	config.Host, config.Port, config.Database, config.User, config.Password = host, uint16(number), s.database, s.user, s.password
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer conn.Close(ctx)
	writer := uuid.Must(uuid.NewV7())
	for n := part; n < s.events; n += inserters {
		e := login(n)
		id := uuid.Must(uuid.NewV7())
		text, err := json.Marshal(map[string]any{
			"id": id, "time": e.Time, "category": "Authentication", "action": "login", "outcome": "success", "subject": e.Subject, "issuer": e.Issuer, "session": e.Session,
			"token_id": e.TokenID, "ip_address": e.ClientAddr, "user_agent": e.UserAgent, "request_id": e.RequestID, "policy": e.Policy, "pod": "orders-1",
		})
		if err != nil {
			return fmt.Errorf("encoding an event: %w", err)
		}
		_, err = conn.Exec(ctx, statement, id, writer, n+1, []byte{}, string(text), e.Time, "Authentication", "login", "success", e.Subject, e.ClientAddr.String(), e.RequestID, e.Policy, "orders-1")
		if err != nil {
			return fmt.Errorf("inserting an event: %w", err)
		}
	}
	return nil
}
