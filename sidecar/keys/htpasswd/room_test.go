package htpasswd

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/posterndev/postern/sidecar/keys/password"
)

// TestCostlyHashesLeaveRoom: the hasher bounds the time that calls wait, and few costly hashes reach it. Who tries many passwords at once
// keeps no user at another address out all the same.
func TestCostlyHashesLeaveRoom(t *testing.T) {
	t.Parallel()
	hash, err := bcrypt.GenerateFromPassword([]byte("demo"), 12)
	if err != nil {
		t.Fatal(err)
	}
	file, err := Parse([]byte("ada:" + string(hash)))
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := password.New(password.Config{Parallel: 1, Wait: time.Second}) // for less than eight hashes of this cost
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier(hasher, nil)
	if err != nil {
		t.Fatal(err)
	}
	attack, stop := context.WithCancel(t.Context())
	var attackers sync.WaitGroup
	refused := make(chan struct{}, 50)
	for i := range cap(refused) {
		attackers.Go(func() {
			if _, err := v.Verify(attack, file, Attempt{Name: "ada", Secret: strconv.Itoa(i), Client: netip.MustParsePrefix("192.0.2.1/32")}); errors.Is(err, password.ErrBusy) {
				refused <- struct{}{}
			}
		})
	}
	<-refused
	name, err := v.Verify(t.Context(), file, Attempt{Name: "ada", Secret: "demo", Client: netip.MustParsePrefix("198.51.100.1/32")})
	if name != "ada" || err != nil {
		t.Errorf("a user at another address: %q, %v", name, err)
	}
	stop()
	attackers.Wait()
}
