package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
)

// ErrUnavailable matches every error that means "no usable reply from PostgreSQL". Statements that were sent may have been executed.
var ErrUnavailable = errors.New("the database is unavailable")

// errOpen is the error of requests that are not sent.
var errOpen = &outage{cause: "request not sent: the breaker is open"}

// outage is an ErrUnavailable with the text of its cause.
type outage struct{ cause string }

func (o *outage) Error() string        { return ErrUnavailable.Error() + ": " + o.cause }
func (o *outage) Is(target error) bool { return target == ErrUnavailable }

// outcome is the outcome of one request.
type outcome int

const (
	// answered: PostgreSQL executed the statements, or had no row to return.
	answered outcome = iota
	// refused: PostgreSQL replied with an error about a statement: no permission, no table, a value that does not fit … Or the
	// statement could not be sent as it was.
	refused
	// readOnly: the server is a standby, or takes no writes. After a failover another server has the name.
	readOnly
	// unavailable: no reply in time, no connection, no login, or a server that accepts no statement.
	unavailable
	// busy: all connections were in use. This says nothing about the server; the requests that use them will.
	busy
	// open: not sent.
	open
	// gone: the pool was closed or the caller canceled. This says nothing about the server.
	gone
)

// SQLSTATE codes, https://www.postgresql.org/docs/15/errcodes-appendix.html.
const (
	codeReadOnly       = "25006"
	codeInvalidCatalog = "3D000" // the database does not exist
	codeDenied         = "42501" // no privilege; also what a session gets whose user was dropped
	classRejected      = "28"    // invalid authorization
)

// notReady are prefixes of codes with which a server refuses every statement: connection exceptions, invalid authorization, no room
// for connections or on the disk, shutting down or starting, and errors outside of PostgreSQL.
var notReady = []string{"08", classRejected, "53", "57P01", "57P02", "57P03", "57P05", "58", codeInvalidCatalog}

// classify judges the error of a request. alive reports that the connection still works: then an error that is not from PostgreSQL
// comes from the caller's function, for example a value that cannot be encoded.
func classify(err error, alive bool) outcome {
	var refusal *pgconn.PgError
	var connecting *pgconn.ConnectError
	switch {
	case err == nil, errors.Is(err, pgx.ErrNoRows):
		return answered
	case errors.Is(err, context.Canceled), errors.Is(err, puddle.ErrClosedPool):
		return gone
	case errors.As(err, &connecting):
		return unavailable
	case errors.As(err, &refusal):
		return judge(refusal.Code)
	case alive && !errors.Is(err, context.DeadlineExceeded):
		return refused
	}
	return unavailable
}

// judge classifies a code.
func judge(code string) outcome {
	if code == codeReadOnly {
		return readOnly
	}
	for _, prefix := range notReady {
		if strings.HasPrefix(code, prefix) {
			return unavailable
		}
	}
	return refused
}

// denied reports whether PostgreSQL refused a statement for lack of a privilege.
func denied(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == codeDenied
}
