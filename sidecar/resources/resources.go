// Package resources holds what outlives a snapshot of the policy: connections, clients, key sets, signing keys,
// stores in memory and metrics. So a reload does not fetch keys again, lose a count or a session, or reconnect.
//
// There is one Resources per process. An Acquirer acquires from it what one document needs. Everything that can be
// shared is kept in a pool.Pool under a name made of its complete configuration: another configuration is another
// value.
package resources

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/audit/trail"
	"github.com/posterndev/postern/sidecar/keys/apikey"
	"github.com/posterndev/postern/sidecar/keys/certificate"
	"github.com/posterndev/postern/sidecar/keys/dpop"
	"github.com/posterndev/postern/sidecar/keys/htpasswd"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/password"
	"github.com/posterndev/postern/sidecar/keys/vault"
	"github.com/posterndev/postern/sidecar/login/backchannel"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/revocation/revocationmemory"
	"github.com/posterndev/postern/sidecar/login/session/sessionmemory"
	"github.com/posterndev/postern/sidecar/lookup/breached"
	"github.com/posterndev/postern/sidecar/pool"
	"github.com/posterndev/postern/sidecar/stages/compression"
	"github.com/posterndev/postern/sidecar/stages/loginprotection/loginprotectionmemory"
	"github.com/posterndev/postern/sidecar/stages/passwordpolicy/passwordpolicymemory"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/inflight/inflightmemory"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/ratelimitmemory"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/telemetry"
)

// defaultCloseDelay is how long a shared value stays open after its last user, because its requests may still be in
// progress.
const defaultCloseDelay = time.Minute

// Config configures Resources.
type Config struct {
	Registerer prometheus.Registerer
	Logger     *slog.Logger
	// Pod and Version are those of this sidecar, for what it exports and its audit trail; empty if they are not known.
	Pod, Version string
	// SecretsDir is the directory where Secrets are mounted, one subdirectory each.
	SecretsDir string
	// VolumesDir is the directory where PersistentVolumeClaims are mounted, one subdirectory each; empty if there are none.
	VolumesDir string
	// VaultTokenFile is the service-account token with which the sidecar logs in to Vault by Kubernetes auth.
	VaultTokenFile string
	// KeysTokenDir has the service-account tokens for key sets, and the cluster's CA; empty if there are none.
	KeysTokenDir string
	// HashMemory bounds the memory of all password hashes in progress, in KiB; password.DefaultMemory if zero.
	HashMemory uint32
	// SessionMemory bounds the memory of sessions that are not in Redis, in bytes; sessionmemory.DefaultMaxBytes if zero.
	SessionMemory int
	// EncoderMemory bounds the memory of all responses that are being compressed, in bytes; defaultEncoderMemory if zero.
	EncoderMemory int64
	// CloseDelay is how long a connection, a client or an index stays open after its last user; a minute if zero.
	CloseDelay time.Duration
	// Now is the clock of what is kept in memory: counters, sessions and revocations. It is time.Now if nil.
	Now func() time.Time
	// AuditOutput is where the sink Log of audit trails writes lines; io.Discard if nil.
	AuditOutput io.Writer
	// SpoolDir is the directory of a volume for records of audit trails that wait for their sinks; empty if there is none.
	SpoolDir string
	// InFlightLease is how long the places of a process that was killed are held; inflight.Lease if zero.
	InFlightLease time.Duration
}

// Resources is what the snapshots of one process share. It is safe for concurrent use.
type Resources struct {
	cfg     Config
	metrics Metrics
	keys    *jwks.Manager

	// The stores in memory are used if the policy names no Redis.
	limits   *ratelimitmemory.Store
	inFlight *inflightmemory.Store
	logins   *loginprotectionmemory.Store
	// passwords are old passwords and their dates.
	passwords *passwordpolicymemory.Store
	sessions  *sessionmemory.Store
	revoked   *revocationmemory.Store
	replay    *backchannel.Memory
	proofs    *dpop.Memory

	vaults  *pool.Pool[string, *vault.Client]
	conns   *pool.Pool[string, *redis.Conn]
	indexes *pool.Pool[string, *revocation.Index]
	rings   *pool.Pool[string, ring]
	// traces and logs export to collectors.
	traces *pool.Pool[string, *telemetry.Traces]
	logs   *pool.Pool[string, *telemetry.Logs]
	// hashers bound the memory for hashing. They are shared so that a reload does not start a second count.
	hashers *pool.Pool[string, *password.Hasher]
	// apiKeys read key files, and users files of users.
	apiKeys *pool.Pool[string, *apikey.Store]
	users   *pool.Pool[string, *htpasswd.Store]
	// certificates are those that clients see. authorities and lists are the CAs and revocation lists of others.
	certificates *pool.Pool[string, held]
	authorities  *pool.Pool[string, *certificate.AuthorityStore]
	lists        *pool.Pool[string, *certificate.ListStore]
	// trails are the audit trails.
	trails *pool.Pool[string, *trail.Trail]

	// encoders bound the memory for compression, in the same way.
	encoders *compression.Places
	// places renews those of requests in progress.
	places *inflight.Keeper

	ended  *endedSessions
	active *Revocations

	untrusted *untrustedProxies

	mu sync.Mutex
	// volumes are the places for look-ups by the name of the PersistentVolumeClaim.
	volumes map[string]breached.Places
}

// New registers the metrics. It fails if their names are already registered. The caller calls Close.
func New(c Config) (*Resources, error) {
	delay := cmp.Or(c.CloseDelay, defaultCloseDelay)
	if c.AuditOutput == nil {
		c.AuditOutput = io.Discard
	}
	r := &Resources{
		cfg: c, limits: ratelimitmemory.New(ratelimitmemory.Config{Log: c.Logger, Now: c.Now}),
		inFlight: inflightmemory.New(c.Now),
		revoked:  revocationmemory.New(revocationmemory.Config{Now: c.Now}), replay: backchannel.NewMemory(c.Now), proofs: dpop.NewMemory(c.Now),
		vaults: pool.New[string, *vault.Client](delay), conns: pool.New[string, *redis.Conn](delay), indexes: pool.New[string, *revocation.Index](delay),
		// A closed ring still signs and verifies for the requests in progress. It only stops reading its key, and the name of that
		// key may be the mistake that the new document corrects.
		rings: pool.New[string, ring](0), hashers: pool.New[string, *password.Hasher](delay), apiKeys: pool.New[string, *apikey.Store](0), users: pool.New[string, *htpasswd.Store](0),
		certificates: pool.New[string, held](0), authorities: pool.New[string, *certificate.AuthorityStore](0), lists: pool.New[string, *certificate.ListStore](0),
		trails: pool.New[string, *trail.Trail](delay),
		traces: pool.New[string, *telemetry.Traces](delay), logs: pool.New[string, *telemetry.Logs](delay),
		ended:  newEndedSessions(),
		active: &Revocations{}, volumes: map[string]breached.Places{}, untrusted: &untrustedProxies{now: time.Now, logger: c.Logger},
	}
	var err error
	if r.logins, err = loginprotectionmemory.New(c.Now); err != nil {
		return nil, err
	}
	if r.passwords, err = passwordpolicymemory.New(c.Now); err != nil {
		return nil, err
	}
	if r.sessions, err = newSessions(c); err != nil {
		return nil, err
	}
	if r.metrics, err = newMetrics(c.Registerer, c.Now); err != nil {
		return nil, err
	}
	if r.metrics.certificates, err = certificate.NewMetrics(c.Registerer, heldCertificates(r.certificates)); err != nil {
		return nil, err
	}
	if _, err = apikey.NewMetrics(c.Registerer, r.apiKeys.InUse); err != nil {
		return nil, err
	}
	if err := registerBacklog(c.Registerer, r.hashers.InUse); err != nil {
		return nil, err
	}
	if r.encoders, err = compression.NewPlaces(cmp.Or(c.EncoderMemory, defaultEncoderMemory), c.Registerer); err != nil {
		return nil, err
	}
	if r.keys, err = jwks.NewManager(jwks.ManagerConfig{Registerer: c.Registerer, Logger: c.Logger}); err != nil {
		return nil, fmt.Errorf("registering key metrics: %w", err)
	}
	if r.places, err = inflight.NewKeeper(inflight.Config{Local: r.inFlight, Lease: c.InFlightLease, Metrics: r.metrics.inFlight, Logger: c.Logger}); err != nil {
		return nil, err
	}
	return r, nil
}

// Close releases what the process holds elsewhere: the places of requests that have not ended, and the Vault token of its login. No snapshot may be in use
// any more.
func (r *Resources) Close() {
	r.places.Close()
	r.trails.CloseAll()
	r.rings.CloseAll()
	r.apiKeys.CloseAll()
	r.users.CloseAll()
	r.certificates.CloseAll()
	r.authorities.CloseAll()
	r.lists.CloseAll()
	r.traces.CloseAll()
	r.logs.CloseAll()
	r.indexes.CloseAll()
	r.conns.CloseAll()
	r.vaults.CloseAll()
}

// Encoders returns the places of the encoders of all snapshots.
func (r *Resources) Encoders() *compression.Places { return r.encoders }

const defaultEncoderMemory = 256 << 20

// Metrics returns the process's metrics, for the stages that count.
func (r *Resources) Metrics() Metrics { return r.metrics }
