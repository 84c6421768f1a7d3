package resources

import (
	"encoding/json"
	"fmt"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/pool"
	"github.com/posterndev/postern/sidecar/store/redis"
)

// Acquirer acquires from Resources what one document needs. Each method returns the document's store, key or client,
// and Close releases all of them. An Acquirer is for one goroutine; what it returns is safe for concurrent use.
type Acquirer struct {
	shared *Resources
	policy *compiled.Policy
	// user is Direct for a snapshot, and Nested for a shared value that acquires other values.
	user pool.User
	// closers release what was acquired; Close runs them.
	closers []func()
	// conn is nil if the policy names no Redis.
	conn *redis.Conn
	// connName is the name of conn in the pool.
	connName string
}

// Acquire acquires the connection to Redis, which the stores share, and the client of Vault, so that both are
// reported as dependencies of the active policy. A deleted policy needs neither. The caller calls Close.
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

// Close releases everything that was acquired, in reverse order.
func (a *Acquirer) Close() {
	for i := len(a.closers) - 1; i >= 0; i-- {
		a.closers[i]()
	}
	a.closers = nil
}

func (a *Acquirer) onClose(release func()) { a.closers = append(a.closers, release) }

// nested returns an acquirer for a shared value that acquires other values. They live as long as that value.
func (a *Acquirer) nested() *Acquirer {
	return &Acquirer{shared: a.shared, policy: a.policy, conn: a.conn, user: pool.Nested}
}

// named returns the key of a shared value, which is made of its configuration.
func named(parts ...any) (string, error) {
	b, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("naming a shared value: %w", err)
	}
	return string(b), nil
}

// scope is the name to which sessions, signing keys and limits belong.
func (a *Acquirer) scope() string { return Scope(a.policy) }

// Scope is the name under which a policy keeps its state.
func Scope(p *compiled.Policy) string { return p.Namespace + "/" + p.Name }
