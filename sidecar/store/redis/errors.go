package redis

import (
	"context"
	"errors"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// ErrUnavailable is matched by every error that means "Redis did not answer", and by no error that Redis answered.
var ErrUnavailable = errors.New("redis does not answer")

// errOpen is the refusal without asking.
var errOpen = &outage{cause: "refused without asking: the breaker is open"}

// outage is an ErrUnavailable. It keeps its cause as text alone: an unwrapped network error makes the cluster client send
// the command again.
type outage struct{ cause string }

func (o *outage) Error() string        { return ErrUnavailable.Error() + ": " + o.cause }
func (o *outage) Is(target error) bool { return target == ErrUnavailable }

// outcome is what became of one command.
type outcome int

const (
	// answered: Redis did it, or had nothing to return.
	answered outcome = iota
	// refused: Redis answered with an error of the command: a wrong type, no memory, no permission, a moved slot …
	refused
	// unavailable: no response in time, no connection, no login, or a server that is not ready for any command.
	unavailable
	// gone: the client was closed or the caller gave up; it says nothing about the server.
	gone
)

// notReady are answers by which a server refuses every command: a login that fails costs a new connection each time, so
// for the breaker it is no better than silence.
var notReady = []string{"LOADING", "MASTERDOWN", "NOAUTH", "WRONGPASS", "ERR invalid password", "ERR AUTH", "ERR max number of clients"}

// classify looks at err itself: a response that is wrapped in another error is one of the way to the server, as a
// sentinel's when it knows no such master.
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
