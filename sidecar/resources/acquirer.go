package resources

import (
	"encoding/json"
	"fmt"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/resources/pool"
	"github.com/posterndev/postern/sidecar/store/redis"
)

// Acquirer takes what one document needs from Resources: each of its methods gives the document's store, key or client, and
// Close releases all that it took. It is for one goroutine; what it gives is safe for concurrent use.
type Acquirer struct {
	shared *Resources
	policy *compiled.Policy
	// user is Direct for a snapshot, and Nested for a shared value that takes others.
	user pool.User
	// closers release what was taken; Close runs them.
	closers []func()
	// conn is nil where the policy names no Redis.
	conn *redis.Conn
}

// Acquire takes the connection to Redis, which the stores share, and the client of Vault, so that both are reported as what
// the policy in force depends on. A deleted policy needs neither. The caller calls Close.
func (r *Resources) Acquire(p *compiled.Policy) (a *Acquirer, err error) {
	a = &Acquirer{shared: r, policy: p}
	if p.Redis != nil && !p.Deleted {
		if a.conn, err = a.acquireConn(); err != nil {
			return nil, err
		}
	}
	if p.UsesVault() && !p.Deleted {
		if _, err = a.vault(); err != nil {
			a.Close()
			return nil, err
		}
	}
	return a, nil
}

// Close releases all that was taken, the last first.
func (a *Acquirer) Close() {
	for i := len(a.closers) - 1; i >= 0; i-- {
		a.closers[i]()
	}
	a.closers = nil
}

func (a *Acquirer) onClose(release func()) { a.closers = append(a.closers, release) }

// nested is an acquirer for a shared value that takes others: what it takes lives as long as that value.
func (a *Acquirer) nested() *Acquirer {
	return &Acquirer{shared: a.shared, policy: a.policy, conn: a.conn, user: pool.Nested}
}

// named tells shared values apart by what they are made of.
func named(parts ...any) (string, error) {
	b, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("naming a shared value: %w", err)
	}
	return string(b), nil
}

// scope is what sessions, signing keys and limits belong to.
func (a *Acquirer) scope() string { return Scope(a.policy) }

// Scope is the name under which a policy keeps its state.
func Scope(p *compiled.Policy) string { return p.Namespace + "/" + p.Name }
