package resources

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/keys/vault"
	"github.com/posterndev/postern/sidecar/store/redis"
)

// Keys returns the state of each provider's keys.
func (r *Resources) Keys() []jwks.Status { return r.keys.Status() }

// Redis returns the state of the connection in use; ok is false if no policy names a Redis.
func (r *Resources) Redis() (status redis.Status, ok bool) {
	for _, c := range r.conns.InUse() {
		return c.Status(), true
	}
	return redis.Status{}, false
}

// Unready says what the active policy still waits for before it can serve its first requests: the signing key, or the
// revocations. It is empty if nothing is missing.
func (r *Resources) Unready() string {
	for _, ring := range r.rings.InUse() {
		if st := ring.Status(); st.Current == "" {
			return noKey(st)
		}
	}
	if missing := r.missingCertificate(); missing != "" {
		return missing
	}
	for _, index := range r.indexes.InUse() {
		select {
		case <-index.Ready():
		default:
			return "the revocations are not loaded yet"
		}
	}
	return ""
}

// Problems returns the dependencies of the active policy that are currently unavailable, and a proxy that is not trusted.
func (r *Resources) Problems() []compiled.Problem {
	var problems []compiled.Problem
	add := func(kind, reason, message string) {
		problems = append(problems, compiled.Problem{Kind: kind, Reason: reason, Message: message})
	}
	for _, client := range r.vaults.InUse() {
		if reason, message := vaultProblem(client.Status()); reason != "" {
			add(compiled.ProblemVault, reason, message)
		}
	}
	if st, ok := r.Redis(); ok {
		if !st.Up && !errors.Is(st.Err, redis.ErrNotContacted) {
			add(compiled.ProblemRedis, "Unavailable", st.Err.Error())
		}
		if st.Evicts != "" {
			add(compiled.ProblemRedis, "RedisEvicts", "maxmemory-policy is "+st.Evicts)
		}
	}
	for _, ring := range r.rings.InUse() {
		switch st := ring.Status(); {
		case !ring.signs(st):
			add(compiled.ProblemSigningKey, "Unavailable", noKey(st))
		case st.Due:
			add(compiled.ProblemSigningKey, "RotationDue", "the signing key is older than rotation.interval, and its owner has not replaced it")
		}
	}
	for _, p := range keyProblems(r.Keys()) {
		add(compiled.ProblemKeys, p.Reason, p.Message)
	}
	for _, p := range r.keyFileProblems() {
		add(compiled.ProblemKeys, p.Reason, p.Message)
	}
	problems = append(problems, r.certificateProblems()...)
	if p, ok := r.untrusted.problem(); ok {
		problems = append(problems, p)
	}
	return problems
}

// maxKeyMessage bounds the message about one provider's keys or one certificate, in bytes.
const maxKeyMessage = 256

// short cuts a message to maxKeyMessage.
func short(message string) string {
	return strings.ToValidUTF8(message[:min(len(message), maxKeyMessage)], "")
}

// keyProblems names the providers whose keys are missing or cannot be refreshed, those that are missing first.
func keyProblems(providers []jwks.Status) []compiled.Problem {
	var missing, stale []compiled.Problem
	for _, p := range providers {
		message := short(p.Provider + ": " + cmp.Or(p.Err, "the keys were not loaded yet"))
		switch {
		case !p.Ready:
			missing = append(missing, compiled.Problem{Reason: "Unavailable", Message: message})
		case p.Err != "":
			stale = append(stale, compiled.Problem{Reason: "RefreshFails", Message: message})
		}
	}
	all := append(missing, stale...)
	return all[:min(len(all), compiled.MaxKeyProblems)]
}

// noKey says why no token can be signed.
func noKey(st signing.Status) string {
	if st.Err == nil {
		return "the signing key was not read yet, or has no version that may sign"
	}
	return fmt.Sprintf("the signing key is unavailable: %v", st.Err)
}

// reasons maps the states of Vault to reasons of a condition.
var reasons = map[vault.State]string{
	vault.Sealed: "Sealed", vault.Unreachable: "Unreachable", vault.Untrusted: "Untrusted", vault.Throttled: "Throttled",
	vault.PermissionDenied: "PermissionDenied", vault.WrongRole: "WrongRole", vault.LoginRefused: "LoginRefused",
	vault.NoCredentials: "NoCredentials", vault.Refused: "Refused",
}

// vaultProblem returns an empty reason if no problem is known.
func vaultProblem(st vault.Status) (reason, message string) {
	if reason := reasons[st.State]; reason != "" {
		return reason, st.Message
	}
	for _, secret := range st.Secrets {
		if !secret.Ready && secret.Err != "" {
			return reasons[vault.Refused], secret.Err
		}
	}
	return "", ""
}

// InUse returns the number of connections, clients, indexes and signing keys that snapshots use: zero after each was
// closed.
func (r *Resources) InUse() int {
	return len(r.vaults.InUse()) + len(r.conns.InUse()) + len(r.indexes.InUse()) + len(r.rings.InUse())
}
