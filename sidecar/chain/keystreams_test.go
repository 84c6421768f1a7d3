package chain

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// streamWith opens a long response with credentials, and returns a channel that is closed when it has ended.
func (s *sidecar) streamWith(header http.Header) <-chan struct{} {
	s.world.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.world.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/orders?stream", nil)
	if err != nil {
		s.world.t.Fatal(err)
	}
	r.Header = header
	res, err := roundTripper.RoundTrip(r)
	if err != nil || res.StatusCode != http.StatusOK {
		s.world.t.Fatalf("opening a stream: %v, %+v", err, res)
	}
	time.Sleep(200 * time.Millisecond) // if the first check refuses, the stream gets half a minute
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
	}()
	return ended
}

// TestOtherFilesEndStreams: a response in progress ends if the active policy does not accept its key or its user: because the policy has
// another file, or none. It continues if the new file has the key, and in Shadow mode.
func TestOtherFilesEndStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gone, entry1 := mint(t, "gone", "")
	kept, entry2 := mint(t, "kept", "")
	ada, grace := user(t, "ada", "right"), user(t, "grace", "right")
	w.writeSecret("shop-keys", "keys.yaml", []byte(entry1+entry2))
	w.writeSecret("other-keys", "keys.yaml", []byte(entry2))
	w.writeSecret("shop-users", "users", []byte(ada+grace))
	w.writeSecret("other-users", "users", []byte(grace))
	document := func(keys, users string, mode compiled.Mode) *compiled.Policy {
		return keyPolicy(func(p *compiled.Policy) {
			p.Mode = mode
			p.APIKeys.Keys, p.APIKeys.Users = &compiled.SecretRef{Name: keys, Key: "keys.yaml"}, nil
			if users != "" {
				p.APIKeys.Users = &compiled.SecretRef{Name: users, Key: "users"}
			}
		})
	}
	s := w.sidecar(document("shop-keys", "shop-users", compiled.Enforce)).ready()
	key := func(k string) http.Header { return http.Header{"X-Api-Key": {k}} }
	removed, still := s.streamWith(key(gone)), s.streamWith(key(kept))
	removedUser, stillUser := s.streamWith(basic("ada", "right")), s.streamWith(basic("grace", "right"))
	wantNone := func(when string) {
		t.Helper()
		select {
		case <-removed:
			t.Errorf("%s: the removed key's stream has ended", when)
		case <-removedUser:
			t.Errorf("%s: the removed user's stream has ended", when)
		case <-still:
			t.Errorf("%s: the other key's stream has ended", when)
		case <-stillUser:
			t.Errorf("%s: the other user's stream has ended", when)
		case <-time.After(2500 * time.Millisecond): // two checks
		}
	}
	s.apply(document("other-keys", "other-users", compiled.Shadow))
	wantNone("in Shadow mode")
	s.apply(document("other-keys", "other-users", compiled.Enforce))
	wantEnd(t, "the policy has another key file", removed)
	wantEnd(t, "the policy has another file of users", removedUser)
	removed, removedUser = nil, nil
	wantNone("of what is in the new files")
	s.apply(document("other-keys", "", compiled.Enforce))
	wantEnd(t, "the policy has no users", stillUser)
	stillUser = nil
	wantNone("of a key")
	s.apply(keyPolicy(func(p *compiled.Policy) {
		p.APIKeys.From, p.APIKeys.Keys, p.APIKeys.Users = nil, nil, &compiled.SecretRef{Name: "shop-users", Key: "users"}
	}))
	wantEnd(t, "the policy has no keys", still)
}
