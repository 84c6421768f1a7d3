package check

import (
	"fmt"
	"strings"
)

// defaultChallengeHeader is the only one of fieldset.Forwarding that a solved challenge can be in: no proxy sets it.
const defaultChallengeHeader = "CF-Turnstile-Response"

// AccountHeader refuses the names of request headers in which no account and no password can be: those that never reach login
// protection, and Authorization, whose value is another one for each password, so that no guesses of an account would be counted together.
func AccountHeader(name string) error {
	why, err := notText(name)
	switch {
	case err != nil:
		return err
	case why == "" && authorization.Has(name):
		why = "its value has the password as well, so each guess would be another account; write basicAuth: true for Authorization: Basic"
	case why == "" && forwarding.Has(name):
		why = "it is removed if the client is not a trusted proxy; choose another header, for example X-Account, or {json: email}"
	case why != "":
		why += "; choose another header, for example X-Account, or {json: email}"
	default:
		return nil
	}
	return fmt.Errorf("no account can be read from %s: %s", name, why)
}

// ChallengeHeader refuses the names of request headers that cannot carry the proof of a solved challenge.
func ChallengeHeader(name string) error {
	why, err := notText(name)
	switch {
	case err != nil:
		return err
	case why == "" && authorization.Has(name):
		why = "it carries credentials"
	case why == "" && forwarding.Has(name) && !strings.EqualFold(name, defaultChallengeHeader):
		why = "proxies describe the client's connection in headers with such a name"
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("no challenge can be read from %s: %s; choose another header, for example %s", name, why, defaultChallengeHeader)
}

// notText returns why a request header has another meaning; empty if it has none. It fails for a name that apps read in different ways.
func notText(name string) (string, error) {
	if err := requestField(name); err != nil {
		return "", err
	}
	return meaning(name), nil
}
