package secure

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// epochLength is how long a key encrypts tickets. A ticket can be used in its epoch and in the next one.
const epochLength = 24 * time.Hour

func epochOf(now time.Time) int64 { return now.Unix() / int64(epochLength/time.Second) }

type ticketKey = [32]byte

// sharedKeys returns the keys of tickets that every replica with the same certificate reads. The first encrypts. The next epoch's key is
// among them, because the clocks of replicas differ.
func sharedKeys(seed secret.Value, scope string, now time.Time) ([]ticketKey, error) {
	epoch := epochOf(now)
	var keys []ticketKey
	for _, e := range []int64{epoch, epoch - 1, epoch + 1} {
		key, err := expand(seed.Reveal(), fmt.Sprintf("%s\x00%d", scope, e))
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func expand(secret []byte, info string) (key ticketKey, err error) {
	b, err := hkdf.Expand(sha256.New, secret, "postern.dev ticket key\x00"+info, len(key))
	if err != nil {
		return key, fmt.Errorf("deriving a key of session tickets: %w", err)
	}
	copy(key[:], b)
	return key, nil
}

// Tickets are the keys of session tickets that no other process reads. They are random, and a key is forgotten after its epoch and the next one,
// so that a recorded ticket cannot be decrypted later. It is safe for concurrent use.
type Tickets struct {
	mu            sync.Mutex
	epoch         int64
	current, last [32]byte
}

// NewTickets returns keys for the life of the process.
func NewTickets() *Tickets { return &Tickets{} }

// local returns the keys for the tickets of one policy. The first encrypts.
func (t *Tickets) local(scope string, now time.Time) ([]ticketKey, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.advance(epochOf(now))
	var keys []ticketKey
	for _, secret := range [][32]byte{t.current, t.last} {
		key, err := expand(secret[:], scope)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (t *Tickets) advance(epoch int64) {
	switch {
	case epoch == t.epoch:
		return
	case epoch == t.epoch+1:
		t.last = t.current
	default:
		_, _ = rand.Read(t.last[:]) // it never fails
	}
	_, _ = rand.Read(t.current[:])
	t.epoch = epoch
}
