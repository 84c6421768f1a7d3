package redis

import (
	"context"
	"errors"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// ErrUnavailable matches every error that means "no usable reply from Redis". It matches no error reply to a command.
var ErrUnavailable = errors.New("redis is unavailable")

// errOpen is the error of commands that are not sent.
var errOpen = &outage{cause: "command not sent: the breaker is open"}

// outage is an ErrUnavailable. It keeps its cause only as text: if the cluster client could unwrap a network error, it would
// send the command again.
type outage struct{ cause string }

func (o *outage) Error() string        { return ErrUnavailable.Error() + ": " + o.cause }
func (o *outage) Is(target error) bool { return target == ErrUnavailable }

// outcome is the outcome of one command.
type outcome int

const (
	// answered: Redis executed the command, or had no value to return.
	answered outcome = iota
	// refused: Redis replied with an error about the command: wrong type, out of memory, no permission, moved slot …
	refused
	// unavailable: no reply in time, no connection, no login, or a server that accepts no command.
	unavailable
	// gone: the client was closed or the caller canceled. This says nothing about the server.
	gone
)

// notReady are prefixes of error replies with which a server refuses every command. For the breaker they count as an outage,
// because each failed login also costs a new connection.
var notReady = []string{"LOADING", "MASTERDOWN", "NOAUTH", "WRONGPASS", "ERR invalid password", "ERR AUTH", "ERR max number of clients"}

// classify looks at err itself and unwraps nothing. An error reply inside another error comes from a step before the command,
// for example from a sentinel that does not know the master.
func classify(err error) outcome {
	if err == nil || err == error(goredis.Nil) {
		return answered
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, goredis.ErrClosed) {
		return gone
	}
	response, ok := err.(goredis.Error)
	if !ok {
		return unavailable
	}
	for _, prefix := range notReady {
		if strings.HasPrefix(response.Error(), prefix) {
			return unavailable
		}
	}
	return refused
}
