package server

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// TestProblemsThatAreNoOutages: a Redis that evicts keys, a key that is due for rotation, keys that cannot be refreshed and a Vault that
// refuses are not called unavailable, at the begin or at the end, and the log says what to change.
func TestProblemsThatAreNoOutages(t *testing.T) {
	for _, tt := range []struct{ kind, reason, wantBegin, wantEnd, wantChange string }{
		{compiled.ProblemRedis, "RedisEvicts", "Redis is available, but may delete sessions and revocations", "Redis no longer deletes keys", "maxmemory-policy noeviction"},
		{compiled.ProblemSigningKey, "RotationDue", "the signing key is used for longer than its rotation interval", "within its rotation interval again", "replace the key"},
		{compiled.ProblemKeys, "RefreshFails", "cannot be refreshed, the last ones stay in use", "are refreshed again", "before maxStale ends"},
		{compiled.ProblemCertificate, "Expiring", "a certificate expires soon", "no certificate expires soon", "no new one"},
		{compiled.ProblemCertificate, "Expired", "a certificate has expired", "no certificate has expired", "replace the certificate"},
		{compiled.ProblemVault, "PermissionDenied", "Vault is available, but refuses", "Vault no longer refuses", "Vault policy of the role"},
		{compiled.ProblemVault, "WrongRole", "Vault is available, but refuses", "Vault no longer refuses", "correct the role"},
		{compiled.ProblemVault, "LoginRefused", "Vault is available, but refuses", "Vault no longer refuses", "correct vault.auth"},
		{compiled.ProblemVault, "Refused", "Vault is available, but refuses", "Vault no longer refuses", "correct the path"},
		{compiled.ProblemVault, "NoCredentials", "credentials for Vault cannot be read", "can be read again", "provide the file"},
		{compiled.ProblemVault, "Sealed", "a dependency is unavailable", "a dependency is available again", ""},
		{compiled.ProblemVault, "Untrusted", "a dependency is unavailable", "a dependency is available again", ""},
		{compiled.ProblemSigningKey, "Unavailable", "a dependency is unavailable", "a dependency is available again", ""},
	} {
		t.Run(tt.kind+" "+tt.reason, func(t *testing.T) {
			log := &lines{}
			l := &logged{logger: slog.New(slog.NewTextHandler(log, nil))}
			l.SetProblems([]compiled.Problem{{Kind: tt.kind, Reason: tt.reason, Message: "m"}})
			l.SetProblems(nil)
			begin, end, _ := strings.Cut(log.b.String(), "\n")
			if !strings.Contains(begin, tt.wantBegin) || !strings.Contains(end, tt.wantEnd) || !strings.Contains(begin, tt.wantChange) {
				t.Errorf("logged:\n%s\n%s", begin, end)
			}
			outage := strings.HasPrefix(tt.wantBegin, "a dependency")
			if text := begin + end; outage != strings.Contains(text, "a dependency is") || outage == strings.Contains(text, "change=") {
				t.Errorf("logged:\n%s", text)
			}
		})
	}
}

// TestCertificateWithAnotherProblem: a certificate that goes from one problem to another has not recovered; another certificate may have.
func TestCertificateWithAnotherProblem(t *testing.T) {
	problem := func(reason, message string) []compiled.Problem {
		return []compiled.Problem{{Kind: compiled.ProblemCertificate, Reason: reason, Message: message}}
	}
	expiring, expired := problem("Expiring", "secret/a expires at 2026-01-01"), problem("Expired", "secret/a expired at 2026-01-01")
	for name, tt := range map[string]struct {
		first, second []compiled.Problem
		wantRecovery  bool
	}{
		"it expires":            {expiring, expired, false},
		"a short-lived new one": {expired, expiring, false},
		"with a bad new one":    {expired, problem("RefreshFails", "secret/a: parsing certificate: x"), false},
		"another certificate":   {expiring, problem("Expired", "secret/b expired at 2026-01-01"), true},
		"it is replaced":        {expired, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			log := &lines{}
			l := &logged{logger: slog.New(slog.NewTextHandler(log, nil))}
			l.SetProblems(tt.first)
			l.SetProblems(tt.second)
			if got := strings.Contains(log.b.String(), "level=INFO"); got != tt.wantRecovery {
				t.Errorf("a recovery is logged: %t; want %t:\n%s", got, tt.wantRecovery, log.b.String())
			}
		})
	}
}
