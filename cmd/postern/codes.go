package main

import "errors"

// Exit codes besides 0. The texts of commands document them.
const (
	exitFailure     = 1
	exitNotEnforced = 2
)

// exitError is a result that was printed, and is reported by the exit code alone.
type exitError struct {
	code int
	text string
}

func (e *exitError) Error() string { return e.text }

// exitCode returns the exit code for the error of a command.
func exitCode(err error) int {
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	}
	return exitFailure
}

// printed says that the command has printed what the error is about.
func printed(err error) bool {
	var exit *exitError
	return errors.Is(err, errFindings) || errors.As(err, &exit)
}
