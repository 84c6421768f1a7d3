package server

import (
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// logged reports to the log.
type logged struct {
	logger   *slog.Logger
	problems []compiled.Problem
}

// SetProblems logs each problem once when it begins, and once when it has ended.
func (l *logged) SetProblems(problems []compiled.Problem) {
	for _, p := range problems {
		if p.Kind == compiled.ProblemClientAddress || contains(l.problems, p) { // resources logs that one
			continue
		}
		attributes := []any{"dependency", p.Kind, "reason", p.Reason, "error", p.Message}
		w := wordingOf(p)
		if w.change != "" {
			attributes = append(attributes, "change", w.change)
		}
		l.logger.Warn(w.begin, attributes...)
	}
	for _, p := range l.problems {
		if p.Kind != compiled.ProblemClientAddress && !contains(problems, p) && !superseded(problems, p) {
			l.logger.Info(wordingOf(p).end, "dependency", p.Kind, "reason", p.Reason)
		}
	}
	l.problems = problems
}

// wording is how a problem is logged: its begin, its end, and what to change, if that is known.
type wording struct{ begin, end, change string }

// unavailable is the wording of an outage: what depends on it follows onFailure, or responds with 503.
var unavailable = wording{"a dependency is unavailable", "a dependency is available again", ""}

// wordings has the problems that are not outages: what is named responds, but is configured wrongly, or will fail later.
var wordings = map[[2]string]wording{
	{compiled.ProblemRedis, "RedisEvicts"}: {"Redis is available, but may delete sessions and revocations", "Redis no longer deletes keys to make room",
		"set maxmemory-policy noeviction in Redis, and alert on its memory"},
	{compiled.ProblemSigningKey, "RotationDue"}: {"the signing key is used for longer than its rotation interval", "the signing key is within its rotation interval again",
		"replace the key where it is stored, or lengthen tokens.signingKey.rotation.interval"},
	{compiled.ProblemKeys, "RefreshFails"}: {"the keys of an issuer cannot be refreshed, the last ones stay in use", "the keys of an issuer are refreshed again",
		"make the source of the keys available before maxStale ends"},
	{compiled.ProblemCertificate, "Expiring"}: {"a certificate expires soon, and should have been replaced", "no certificate expires soon",
		"find out why the source of the certificate has no new one"},
	{compiled.ProblemCertificate, "Expired"}:    {"a certificate has expired, and clients refuse it", "no certificate has expired", "replace the certificate where it is stored"},
	{compiled.ProblemVault, "PermissionDenied"}: vaultRefuses("extend the Vault policy of the role by the path of the error"),
	{compiled.ProblemVault, "WrongRole"}:        vaultRefuses("correct the role of vault.auth, or whom Vault lets use it"),
	{compiled.ProblemVault, "LoginRefused"}:     vaultRefuses("correct vault.auth, or the auth method in Vault"),
	{compiled.ProblemVault, "Refused"}:          vaultRefuses("correct the path or the key that the error names"),
	{compiled.ProblemVault, "NoCredentials"}: {"the credentials for Vault cannot be read", "the credentials for Vault can be read again",
		"provide the file or the Secret of vault.auth"},
}

func vaultRefuses(change string) wording {
	return wording{"Vault is available, but refuses requests of the sidecar", "Vault no longer refuses requests of the sidecar", change}
}

func wordingOf(p compiled.Problem) wording {
	if w, ok := wordings[[2]string{p.Kind, p.Reason}]; ok {
		return w
	}
	return unavailable
}

// contains compares kinds and reasons, as sameProblems does.
func contains(problems []compiled.Problem, p compiled.Problem) bool {
	return slices.ContainsFunc(problems, func(other compiled.Problem) bool { return other.Kind == p.Kind && other.Reason == p.Reason })
}

// superseded reports whether a certificate with the problem p has another one now: that is no recovery.
func superseded(problems []compiled.Problem, p compiled.Problem) bool {
	return p.Kind == compiled.ProblemCertificate && slices.ContainsFunc(problems, func(other compiled.Problem) bool {
		return other.Kind == p.Kind && certificateOf(other) == certificateOf(p)
	})
}

// certificateOf returns the name of the certificate, with which the message begins.
func certificateOf(p compiled.Problem) string {
	name, _, _ := strings.Cut(p.Message, " ")
	return strings.TrimSuffix(name, ":")
}

// SetReachable does nothing: only pods have other listeners.
func (*logged) SetReachable([]string) {}

// SetUnredirected does nothing: only pods are redirected.
func (*logged) SetUnredirected(bool) {}

// SetCertificatesExpire does nothing: the metrics have it.
func (*logged) SetCertificatesExpire(time.Time) {}
