package appapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/keys/password"
)

type hashRequest struct {
	Password string `json:"password"`
	// Account is the name or e-mail address that the password is for; empty if it is not known.
	Account string `json:"account,omitempty"`
	// Previous are the hashes of the account's former passwords, the latest first.
	Previous []string `json:"previous,omitempty"`
}

// PasswordRules judge new passwords.
type PasswordRules interface {
	// Check returns the refusal of a password, or nil. The fields of the refusal are password and account.
	Check(ctx context.Context, password, account string) error
	// CheckPrevious returns the refusal of a password that has one of the hashes of former ones, an error of package password, or nil.
	CheckPrevious(ctx context.Context, password string, previous []string) error
}

// maxPrevious is the maximum number of hashes of former passwords.
const maxPrevious = check.MaxRememberedPasswords

type hashResponse struct {
	Hash string `json:"hash"`
}

type verifyRequest struct {
	Password string `json:"password"`
	// Hash is empty if the account does not exist. The response then takes as long as for any other hash.
	Hash string `json:"hash"`
}

type verifyResponse struct {
	Match bool `json:"match"`
	// Rehash says that the app should store a new hash.
	Rehash bool `json:"rehash"`
}

func (a *api) hash(w http.ResponseWriter, r *http.Request) error {
	var request hashRequest
	if err := readJSON(r, &request); err != nil {
		return err
	}
	if request.Password == "" {
		return badRequest(http.StatusUnprocessableEntity, "The password is empty.")
	}
	if len(request.Previous) > maxPrevious {
		return badRequest(http.StatusUnprocessableEntity, "There are more than "+strconv.Itoa(maxPrevious)+" previous hashes.")
	}
	if a.PasswordRules != nil {
		if err := a.PasswordRules.Check(r.Context(), request.Password, request.Account); err != nil {
			return err
		}
		if err := a.PasswordRules.CheckPrevious(r.Context(), request.Password, request.Previous); err != nil {
			return refusePassword(err)
		}
	}
	encoded, err := a.Passwords.Hash(r.Context(), request.Password)
	if err != nil {
		return refusePassword(err)
	}
	return write(w, hashResponse{Hash: encoded})
}

func (a *api) verify(w http.ResponseWriter, r *http.Request) error {
	var request verifyRequest
	if err := readJSON(r, &request); err != nil {
		return err
	}
	result, err := a.Passwords.Verify(r.Context(), request.Password, request.Hash)
	if err != nil {
		return refusePassword(err)
	}
	return write(w, verifyResponse{Match: result.Match, Rehash: result.Rehash})
}

func refusePassword(err error) error {
	e := &httperr.Error{Status: http.StatusUnprocessableEntity, Cause: err}
	switch {
	case errors.Is(err, password.ErrBusy):
		e.Status, e.Code, e.Detail = http.StatusServiceUnavailable, "busy", "Too many passwords are being hashed. Try again."
		return e.With("Retry-After", strconv.Itoa(int(password.RetryAfter(err)/time.Second)))
	case errors.Is(err, password.ErrTooLongForBcrypt):
		e.Code, e.Detail = "password-too-long", "bcrypt uses the first 72 bytes of a password, and this one is longer. Treat it as a wrong password."
	case errors.Is(err, password.ErrTooLong), errors.Is(err, password.ErrNUL):
		e.Code, e.Detail = "password-unusable", "The password is longer than 4096 bytes, or contains a NUL, which bcrypt cannot hash."
	case errors.Is(err, password.ErrTooCostly), errors.Is(err, password.ErrMalformed):
		e.Code, e.Detail = "hash-unusable", "The hash is in none of the supported formats, or needs more time or memory than is allowed."
	default:
		return err
	}
	return e
}
