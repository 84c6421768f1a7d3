package redis

import (
	"context"
	"errors"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// ErrUnavailable matches every error that means "no usable reply from Redis". It matches no error reply to a command, except one
// of a server that is not the master.
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
	// unwritable: a master refuses every write, because of its disk or its replicas. Reads still work. Another server may be the
	// master by now.
	unwritable
	// notMaster: the server is a replica. Its data may be old, so it is of no use.
	notMaster
	// unavailable: no reply in time, no connection, no login, or a server that accepts no command.
	unavailable
	// gone: the client was closed or the caller canceled. This says nothing about the server.
	gone
)

// notReady are prefixes of error replies with which a server refuses every command. For the breaker they count as an outage,
// because each failed login also costs a new connection.
var notReady = []string{"LOADING", "CLUSTERDOWN", "NOAUTH", "WRONGPASS", "ERR invalid password", "ERR AUTH", "ERR max number of clients"}

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
	return judgeReply(response.Error())
}

// The words of error replies about writes, and of those that a blocked command gets when its server becomes a replica.
var (
	replicaWords    = []string{"READONLY", "MASTERDOWN", "UNBLOCKED"}
	unwritableWords = []string{"NOREPLICAS", "MISCONF"}
	replicaTexts    = []string{"read only replica", "read-only replica", "readonly replica", "read only slave", "read-only slave", "readonly slave"}
)

// maxJudged bounds the text that is searched for a phrase, in bytes.
const maxJudged = 256

// judgeReply classifies the text of an error reply. Proxies put "ERR" before the word of Redis, and Redis before version 7 puts
// the error of a script's command in the middle of its own text.
func judgeReply(text string) outcome {
	if slices.ContainsFunc(notReady, func(prefix string) bool { return strings.HasPrefix(text, prefix) }) {
		return unavailable
	}
	switch {
	case says(text, replicaWords):
		return notMaster
	case says(text, unwritableWords):
		return unwritable
	case strings.HasPrefix(text, "ERR unknown command"): // it quotes arguments, which clients choose
		return refused
	}
	lower := strings.ToLower(text[:min(len(text), maxJudged)])
	if slices.ContainsFunc(replicaTexts, func(phrase string) bool { return strings.Contains(lower, phrase) }) {
		return notMaster
	}
	return refused
}

// says reports whether the first word of text, after any "ERR" and "-", is one of words, or a script's error names one.
func says(text string, words []string) bool {
	first := strings.TrimLeft(strings.TrimPrefix(strings.TrimLeft(text, "- "), "ERR "), "- ")
	first, _, _ = strings.Cut(first, " ")
	if slices.Contains(words, strings.TrimSuffix(first, ":")) {
		return true
	}
	if !strings.HasPrefix(text, "ERR Error running script") {
		return false
	}
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, ": -"+word+" ") })
}
