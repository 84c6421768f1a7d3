package chain

import (
	"encoding/json"
	"fmt"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/store/redis"
)

// acquirer takes what one document needs from Shared, and remembers how to give it back.
type acquirer struct {
	*Shared
	policy *compiled.Policy
	// user is whom the acquirer works for.
	user user
	// closers give back; they are run by whoever the acquirer works for.
	closers []func()
	// conn is nil where the policy names no Redis.
	conn *redis.Conn
}

// newAcquirer takes the connection to Redis, which the stores share, and the client of Vault, so that they count as what the
// policy in force depends on. A deleted policy needs nothing.
func (s *Shared) newAcquirer(p *compiled.Policy) (t *acquirer, err error) {
	t = &acquirer{Shared: s, policy: p}
	if p.Redis != nil && !p.Deleted {
		if t.conn, err = t.acquireConn(); err != nil {
			return nil, err
		}
	}
	if p.UsesVault() && !p.Deleted {
		if _, err = t.vault(); err != nil {
			t.close()
			return nil, err
		}
	}
	return t, nil
}

// close gives back all that was taken, the last first.
func (t *acquirer) close() {
	for i := len(t.closers) - 1; i >= 0; i-- {
		t.closers[i]()
	}
	t.closers = nil
}

func (t *acquirer) onClose(release func()) { t.closers = append(t.closers, release) }

// named tells shared values apart by what they are made of.
func named(parts ...any) (string, error) {
	b, err := json.Marshal(parts)
	if err != nil {
		return "", fmt.Errorf("naming a shared value: %w", err)
	}
	return string(b), nil
}

// scope is what sessions, signing keys and limits belong to.
func (t *acquirer) scope() string { return scopeOf(t.policy) }

func scopeOf(p *compiled.Policy) string { return p.Namespace + "/" + p.Name }

// nested is an acquirer for something shared that takes on its own behalf: what it takes lives as long as that.
func (t *acquirer) nested() *acquirer {
	return &acquirer{Shared: t.Shared, policy: t.policy, conn: t.conn, user: byShared}
}
