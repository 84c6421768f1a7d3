package jwks

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

func lookup(t *testing.T, s Source, kid string) ([]*Key, error) {
	t.Helper()
	return s.Lookup(t.Context(), kid, "RS256")
}

func TestRemoteLoads(t *testing.T) {
	o := newOrigin(t, serve(jwkSet(t, rsaJWK(t, "a"))))
	m, _ := newTestManager(t, &clock{})
	s := acquire(t, m, o.spec())
	keys, err := lookup(t, s, "a")
	if err != nil || len(keys) != 1 || !s.Holds(keys[0]) {
		t.Fatalf("Lookup = %v, %v", keys, err)
	}
	if _, err := lookup(t, s, "b"); !errors.Is(err, ErrUnknownKey) {
		t.Fatalf("unknown kid: %v", err)
	}
	if n := o.hits.Load(); n != 1 {
		t.Fatalf("%d fetches; the unknown kid came within the gap", n)
	}
}

func TestRemoteRotation(t *testing.T) {
	c := &clock{}
	o := newOrigin(t, serve(jwkSet(t, rsaJWK(t, "old"))))
	m, _ := newTestManager(t, c)
	s := acquire(t, m, o.spec())
	old, err := lookup(t, s, "old")
	if err != nil {
		t.Fatal(err)
	}
	o.handle(serve(jwkSet(t, rsaJWK(t, "new"))))
	if _, err := lookup(t, s, "new"); !errors.Is(err, ErrUnknownKey) {
		t.Fatalf("within the gap: %v", err)
	}
	c.advance(m.pace.minGap)
	if _, err := lookup(t, s, "new"); err != nil {
		t.Fatalf("after the gap: %v", err)
	}
	if s.Holds(old[0]) {
		t.Error("the old key is still held")
	}
	if n := o.hits.Load(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
}

// TestRemoteAddsAlgorithm: a key that an issuer adds with the kid of another one is fetched, like one with a new kid.
func TestRemoteAddsAlgorithm(t *testing.T) {
	c := &clock{}
	rs := rsaJWK(t, "a")
	o := newOrigin(t, serve(jwkSet(t, rs.with("alg", "RS256"))))
	m, _ := newTestManager(t, c)
	m.pace.absent = time.Hour
	s := acquire(t, m, o.spec())
	if _, err := lookup(t, s, "a"); err != nil {
		t.Fatal(err)
	}
	c.advance(m.pace.minGap)
	for range 3 {
		if _, err := s.Lookup(t.Context(), "a", "PS384"); !errors.Is(err, ErrAlgorithm) {
			t.Fatalf("an algorithm that the issuer does not have: %v", err)
		}
		c.advance(m.pace.minGap)
	}
	if n := o.hits.Load(); n != 2 {
		t.Errorf("%d fetches, want 2: such a token must not cause a fetch each time", n)
	}
	o.handle(serve(jwkSet(t, rs.with("alg", "RS256"), rs.with("alg", "PS256"))))
	if keys, err := s.Lookup(t.Context(), "a", "PS256"); err != nil || keys[0].Algorithm() != "PS256" {
		t.Errorf("an algorithm that the issuer added: %v, %v", keys, err)
	}
	o.handle(status(http.StatusBadGateway))
	c.advance(m.pace.minGap)
	if _, err := s.Lookup(t.Context(), "a", "PS512"); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("during an outage: %v", err)
	}
}

func TestRemoteRemembersAbsentKid(t *testing.T) {
	c := &clock{}
	o := newOrigin(t, serve(jwkSet(t, rsaJWK(t, "a"))))
	m, _ := newTestManager(t, c)
	m.pace.absent = time.Hour
	s := acquire(t, m, o.spec())
	if _, err := lookup(t, s, "a"); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		c.advance(m.pace.minGap)
		if _, err := lookup(t, s, "absent"); !errors.Is(err, ErrUnknownKey) {
			t.Fatal(err)
		}
	}
	if n := o.hits.Load(); n != 2 {
		t.Fatalf("%d fetches, want 2: a client with an old token must not cause a fetch each time", n)
	}
	c.advance(m.pace.absent)
	o.handle(serve(jwkSet(t, rsaJWK(t, "absent"))))
	if _, err := lookup(t, s, "absent"); err != nil {
		t.Fatalf("after the cache entry expired: %v", err)
	}
}

// idle reports whether no load is running, which a lookup would wait for.
func idle(s Source) bool {
	p, ok := s.(*polled)
	if !ok {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running == nil
}

func TestRemoteOutage(t *testing.T) {
	c := &clock{}
	o := newOrigin(t, status(http.StatusInternalServerError))
	m, _ := newTestManager(t, c)
	s := acquire(t, m, o.spec())
	if _, err := lookup(t, s, "a"); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("before the first set: %v", err)
	}
	if st := m.Status()[0]; st.Ready || !strings.Contains(st.Err, "status 500") {
		t.Fatalf("status %+v", st)
	}
	o.handle(serve(jwkSet(t, rsaJWK(t, "a"))))
	eventually(t, "the set is loaded", func() bool { return m.Status()[0].Ready && idle(s) })
	keys, err := lookup(t, s, "a")
	if err != nil {
		t.Fatal(err)
	}

	o.handle(status(http.StatusBadGateway))
	c.advance(m.pace.minGap)
	if _, err := lookup(t, s, "new"); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("unknown kid during the outage: %v", err)
	}
	if _, err := lookup(t, s, "new"); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("unknown kid during the outage, within the gap: %v", err)
	}
	if _, err := lookup(t, s, "a"); err != nil || !s.Holds(keys[0]) {
		t.Fatalf("last good set: %v", err)
	}
	if st := m.Status()[0]; !st.Ready || st.Err == "" {
		t.Fatalf("status %+v", st)
	}
	c.advance(DefaultMaxStale)
	if _, err := lookup(t, s, "a"); !errors.Is(err, ErrUnavailable) || s.Holds(keys[0]) {
		t.Fatalf("beyond maxStale: %v", err)
	}
	if st := m.Status()[0]; st.Ready || st.Keys != 0 || st.Age < DefaultMaxStale {
		t.Fatalf("status %+v", st)
	}
}

func TestRemoteRefusesResponse(t *testing.T) {
	private := rsaJWK(t, "a").with("d", "AQAB")
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	for range 2 {
		_, _ = zip.Write(make([]byte, 1<<20))
	}
	_ = zip.Close()
	other := newOrigin(t, serve(jwkSet(t, rsaJWK(t, "a"))))
	tests := map[string]struct {
		handler http.HandlerFunc
		wantErr string
	}{
		"garbage":                         {serve([]byte("<html>sign in</html>")), "not one valid JSON"},
		"private key":                     {serve(jwkSet(t, private)), "private members"},
		"secret":                          {serve(jwkSet(t, jwk{"kty": "oct", "k": b64(make([]byte, 64))})), "from a Secret only"},
		"empty set":                       {serve([]byte(`{"keys":[]}`)), "the set is empty"},
		"huge":                            {serve(bytes.Repeat([]byte(" "), 1<<20)), "larger than"},
		"no content":                      {status(http.StatusNoContent), "status 204"},
		"304 to an unconditional request": {status(http.StatusNotModified), "status 304"},
		"not found":                       {status(http.StatusNotFound), "status 404"},
		"redirect to another server":      {redirect(other.URL + "/jwks.json"), "another server"},
		"redirect to plain HTTP":          {redirect("http://127.0.0.1/jwks.json"), "another server"},
		"redirect loop":                   {redirect("/again"), "more than 3 times"},
		"redirect with credentials":       {func(w http.ResponseWriter, r *http.Request) { redirect("https://u:hunter2@"+r.Host)(w, r) }, "with credentials"},
		"decompression bomb":              {compressed(bomb.Bytes()), "larger than"},
		"connection closed in the body": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
		}, "unexpected EOF"},
		"connection closed immediately": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, tt.handler)
			m, _ := newTestManager(t, &clock{})
			spec := o.spec()
			spec.URI += "?key=hunter2"
			s := acquire(t, m, spec)
			_, err := lookup(t, s, "a")
			if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("Lookup = %v, want %q", err, tt.wantErr)
			}
			if strings.Contains(err.Error()+m.Status()[0].Err, "hunter2") {
				t.Fatalf("the error shows the address: %v", err)
			}
		})
	}
	if n := other.hits.Load(); n != 0 {
		t.Errorf("%d requests reached the other server", n)
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	}
}

func compressed(body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(body)
	}
}

func TestRemoteFollowsRedirectOnSameServer(t *testing.T) {
	body := jwkSet(t, rsaJWK(t, "a"))
	o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/jwks.json" {
			redirect("/v2/keys")(w, r)
			return
		}
		serve(body)(w, r)
	})
	m, _ := newTestManager(t, &clock{})
	if _, err := lookup(t, acquire(t, m, o.spec()), "a"); err != nil {
		t.Fatal(err)
	}
}

func TestRemoteBadSetKeepsLastGood(t *testing.T) {
	c := &clock{}
	o := newOrigin(t, serve(jwkSet(t, rsaJWK(t, "a"))))
	m, _ := newTestManager(t, c)
	s := acquire(t, m, o.spec())
	if _, err := lookup(t, s, "a"); err != nil {
		t.Fatal(err)
	}
	o.handle(serve([]byte(`{"keys":[]}`)))
	c.advance(m.pace.minGap)
	if _, err := lookup(t, s, "b"); !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	if _, err := lookup(t, s, "a"); err != nil {
		t.Fatalf("the last good set was removed: %v", err)
	}
}

func TestRemoteConditionalRequest(t *testing.T) {
	c := &clock{}
	body := jwkSet(t, rsaJWK(t, "a"))
	notModified := make(chan string, 1)
	o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if tag := r.Header.Get("If-None-Match"); tag != "" {
			notModified <- tag
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", `"v1"`)
		serve(body)(w, r)
	})
	m, _ := newTestManager(t, c)
	s := acquire(t, m, o.spec())
	keys, err := lookup(t, s, "a")
	if err != nil {
		t.Fatal(err)
	}
	c.advance(time.Hour)
	if _, err := lookup(t, s, "b"); !errors.Is(err, ErrUnknownKey) {
		t.Fatal(err)
	}
	if tag := <-notModified; tag != `"v1"` {
		t.Fatalf("If-None-Match: %s", tag)
	}
	if age := m.Status()[0].Age; age >= time.Hour || !s.Holds(keys[0]) {
		t.Fatalf("the confirmed set is %s old", age)
	}
}

func TestRemoteSlowServer(t *testing.T) {
	gate := make(chan struct{})
	body := jwkSet(t, rsaJWK(t, "a"))
	o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-gate:
			serve(body)(w, r)
		case <-r.Context().Done():
		}
	})
	m, _ := newTestManager(t, &clock{})
	m.pace.wait = 10 * time.Millisecond
	m.pace.maxWaiters = 1
	m.pace.timeout = 200 * time.Millisecond
	s := acquire(t, m, o.spec())
	if _, err := lookup(t, s, "a"); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("while loading: %v", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Lookup(canceled, "a", "RS256"); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("canceled request: %v", err)
	}
	eventually(t, "the load times out", func() bool { return m.Status()[0].Err != "" })
	close(gate)
	eventually(t, "the set is loaded", func() bool { return m.Status()[0].Ready })
}

func TestRemoteUntrustedServer(t *testing.T) {
	o := newOrigin(t, serve(jwkSet(t, rsaJWK(t, "a"))))
	m, _ := newTestManager(t, &clock{})
	spec := o.spec()
	spec.CABundle = nil
	_, err := lookup(t, acquire(t, m, spec), "a")
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "certificate") {
		t.Fatalf("Lookup = %v", err)
	}
}
