package chain

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/dpop"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/password"
	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/backchannel"
	"github.com/posterndev/postern/sidecar/login/revocation/revocationmemory"
	"github.com/posterndev/postern/sidecar/login/session/sessionmemory"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/stages/authn"
	"github.com/posterndev/postern/sidecar/stages/loginprotection"
	"github.com/posterndev/postern/sidecar/stages/passwordpolicy"
	"github.com/posterndev/postern/sidecar/stages/ratelimit"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight"
)

// absentKeys replace keys outside of the document, which Check does not load.
type absentKeys struct{}

func (absentKeys) Lookup(context.Context, string, string) ([]*jwks.Key, error) {
	return nil, jwks.ErrUnavailable
}

func (absentKeys) Holds(*jwks.Key) bool { return false }

// absent gives a provider's keys where nothing is loaded.
func absent(*compiled.Provider) (authn.Keys, error) { return absentKeys{}, nil }

// Check reports what in a document no sidecar can run: patterns, keys, origins, lifetimes. It makes no connections, and loads no
// keys or secrets from outside of the document.
func Check(p *compiled.Policy) error {
	if err := check.Error(check.Document(p)); err != nil {
		return err
	}
	given := parts{
		keys: absent, hasher: checkHasher, apiKeys: absentAPIKeys, users: absentBasicUsers, store: noStore{}, local: noStore{}, places: &inflight.Places{}, sessions: sessionmemory.New(sessionmemory.Config{}),
		revocations: revocationmemory.New(revocationmemory.Config{}), replay: backchannel.NewMemory(nil), usedProofs: dpop.NewMemory(nil), localProofs: dpop.NewMemory(nil), passwords: noPasswords{}, logins: noStore{}, localLogins: noStore{}, challenge: noChallenge,
		breached: noBreached, active: &resources.Revocations{}, logger: slog.New(slog.DiscardHandler),
		app: stage.Func(func(http.ResponseWriter, *http.Request) error { return nil }),
	}
	var err error
	if p.Tokens != nil {
		given.ring, err = checkRing(p.Tokens)
	}
	if err == nil {
		_, err = assemble(p, given)
	}
	return err
}

func checkHasher(p *compiled.Passwords) (*password.Hasher, error) { return resources.NewHasher(p, 0) }

// noStore is the store of a chain that is only checked.
type noStore struct{}

var errNotRun = errors.New("the chain is only checked")

func (noStore) Take(context.Context, []ratelimit.Request) ([]ratelimit.Result, error) {
	return nil, errNotRun
}

func (noStore) Peek(context.Context, []ratelimit.Request) ([]ratelimit.Result, error) {
	return nil, errNotRun
}

func (noStore) Charge(context.Context, []ratelimit.Request) ([]ratelimit.Result, error) {
	return nil, errNotRun
}

func (noStore) Begin(context.Context, []loginprotection.Counter) (loginprotection.Begun, error) {
	return loginprotection.Begun{}, errNotRun
}

func (noStore) End(context.Context, []loginprotection.Counter, []loginprotection.Outcome) ([]bool, error) {
	return nil, errNotRun
}

func (noStore) Look(context.Context, []loginprotection.Counter) ([]loginprotection.State, error) {
	return nil, errNotRun
}

func (noStore) Put(context.Context, string, []byte, time.Duration, bool) ([]byte, error) {
	return nil, errNotRun
}

func (noStore) Get(context.Context, string) ([]byte, error) { return nil, errNotRun }

// noChallenge is the verifier of a chain that is only checked.
func noChallenge(*compiled.Challenge) (loginprotection.Challenge, error) { return noVerifier{}, nil }

type noVerifier struct{}

func (noVerifier) Verify(context.Context, string, netip.Addr) error { return errNotRun }

// noBreached is the list of a chain that is only checked.
func noBreached(*compiled.BreachedPasswords) (passwordpolicy.Source, error) { return noList{}, nil }

type noList struct{}

func (noList) Count(context.Context, string) (int, error) { return 0, errNotRun }

// absentKey replaces a signing key, which Check does not load.
type absentKey struct{}

func (absentKey) Versions(context.Context) ([]signing.Version, error) { return nil, errNotRun }

func checkRing(t *compiled.Tokens) (*signing.Ring, error) {
	return signing.NewRing(signing.Config{
		Source: absentKey{}, Algorithm: signing.Algorithm(t.Algorithm), Overlap: t.RotationOverlap.Std(), Interval: t.RotationInterval.Std(),
		Lifetime: t.AccessLifetime.Std() + t.Leeway.Std(), Logger: slog.New(slog.DiscardHandler),
	})
}
