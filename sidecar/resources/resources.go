package chain

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/password"
	"github.com/posterndev/postern/sidecar/keys/vault"
	"github.com/posterndev/postern/sidecar/login/backchannel"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/revocation/revocationmemory"
	"github.com/posterndev/postern/sidecar/login/session/sessionmemory"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/stages/accesslog"
	"github.com/posterndev/postern/sidecar/stages/authn"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/ratelimitmemory"
	"github.com/posterndev/postern/sidecar/store/redis"
)

// SharedConfig is what Shared is made of.
type SharedConfig struct {
	Registerer prometheus.Registerer
	Logger     *slog.Logger
	// SecretsDir is where Secrets are mounted, one folder each.
	SecretsDir string
	// VaultTokenFile is the service-account token with which the sidecar logs in to Vault by Kubernetes auth.
	VaultTokenFile string
	// HashMemory bounds the memory of all password hashes under way, in KiB; password.DefaultMemory where zero.
	HashMemory uint32
}

// Shared is what outlives snapshots, so that a reload neither fetches keys again, nor forgets a count or a session, nor opens
// a connection anew. It is safe for concurrent use.
type Shared struct {
	cfg     SharedConfig
	metrics metrics
	keys    *jwks.Manager

	// What stands in for Redis where none is named.
	limits   *ratelimitmemory.Store
	sessions *sessionmemory.Store
	revoked  *revocationmemory.Store
	replay   *backchannel.Memory

	vaults  *pool[*vault.Client]
	conns   *pool[*redis.Conn]
	indexes *pool[*revocation.Index]
	rings   *pool[ring]
	// hashers bound what hashing takes; a reload does not begin to count anew.
	hashers *pool[*password.Hasher]
	ended   *endedSessions
	// now is what the snapshot in force knows; answers that are under way in older ones are judged by it.
	now *activeRevocations
}

// activeRevocations is what is revoked, by the snapshot that is in force.
type activeRevocations struct {
	// tokens are nothing where revocation is only tried, and sessions, of external providers, where sessions are; kept are the
	// same sessions in any case.
	tokens, sessions, kept revocation.Current
}

func (f *activeRevocations) set(p *compiled.Policy, known revocation.Known) {
	var nothing revocation.Known
	tokens, sessions := known, known
	if inShadow(p) {
		tokens = nothing
	}
	if p.Mode == compiled.Shadow || p.Sessions != nil && p.Sessions.Mode == compiled.Shadow {
		sessions = nothing
	}
	f.tokens.Set(tokens)
	f.sessions.Set(sessions)
	f.kept.Set(known)
}

// metrics are those of the process, registered once.
type metrics struct {
	requests   *accesslog.Metrics
	tokens     *authn.Metrics
	redis      *redis.Metrics
	vault      *vault.Metrics
	revocation *revocation.Metrics
	issued     *token.Metrics
}

func newMetrics(r prometheus.Registerer) (m metrics, err error) {
	if m.requests, err = accesslog.NewMetrics(r); err != nil {
		return m, fmt.Errorf("registering request metrics: %w", err)
	}
	if m.tokens, err = authn.NewMetrics(r); err != nil {
		return m, fmt.Errorf("registering token metrics: %w", err)
	}
	if m.redis, err = redis.NewMetrics(r); err != nil {
		return m, fmt.Errorf("registering state metrics: %w", err)
	}
	if m.vault, err = vault.NewMetrics(r); err != nil {
		return m, fmt.Errorf("registering Vault metrics: %w", err)
	}
	if m.revocation, err = revocation.NewMetrics(r); err != nil {
		return m, err
	}
	m.issued, err = token.NewMetrics(r)
	return m, err
}

// NewShared registers the metrics; it fails where their names are taken.
func NewShared(c SharedConfig) (*Shared, error) {
	s := &Shared{
		cfg: c, limits: ratelimitmemory.New(ratelimitmemory.Config{Log: c.Logger}), sessions: sessionmemory.New(sessionmemory.Config{}),
		revoked: revocationmemory.New(revocationmemory.Config{}), replay: backchannel.NewMemory(time.Now),
		vaults: newPool[*vault.Client](closeDelay), conns: newPool[*redis.Conn](closeDelay), indexes: newPool[*revocation.Index](closeDelay),
		// A ring signs and verifies on after its end. It only stops to ask for its key, which may be the mistake that was mended.
		rings: newPool[ring](0), hashers: newPool[*password.Hasher](closeDelay), ended: newEndedSessions(),
		now: &activeRevocations{},
	}
	var err error
	if s.metrics, err = newMetrics(c.Registerer); err != nil {
		return nil, err
	}
	if s.keys, err = jwks.NewManager(jwks.ManagerConfig{Registerer: c.Registerer, Logger: c.Logger}); err != nil {
		return nil, fmt.Errorf("registering key metrics: %w", err)
	}
	return s, nil
}

// Close gives back what the process holds elsewhere: a Vault token that its login made is revoked. No snapshot may be in
// use any more.
func (s *Shared) Close() {
	s.rings.closeAll()
	s.indexes.closeAll()
	s.conns.closeAll()
	s.vaults.closeAll()
}
