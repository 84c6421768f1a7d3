package passwordpolicy

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/password"
	"github.com/posterndev/postern/sidecar/keys/passwordrules"
)

var errAway = errors.New("the store is away")

// store is a Store of one account that counts.
type store struct {
	hashes     []string
	changed    time.Time
	wait       time.Duration
	err        error
	looked     int
	added      []string
	keys       []string
	keep       int
	expiresFor time.Duration
}

func (s *store) Old(_ context.Context, key string) ([]string, time.Duration, error) {
	s.looked, s.keys = s.looked+1, append(s.keys, key)
	return s.hashes, s.wait, s.err
}

func (s *store) Add(_ context.Context, key, hash string, keep int, ttl time.Duration) error {
	s.added, s.keys, s.keep, s.expiresFor = append(s.added, hash), append(s.keys, key), keep, ttl
	return s.err
}

func (s *store) Changed(context.Context, string) (time.Time, error) { return s.changed, s.err }

func (s *store) Look(_ context.Context, key string) (Kept, error) {
	s.keys = append(s.keys, key)
	return Kept{Hashes: len(s.hashes), Changed: s.changed}, s.err
}

func (s *store) Delete(_ context.Context, key string) (bool, error) {
	s.keys = append(s.keys, key)
	return len(s.hashes) > 0, s.err
}

// hasher is a Hasher whose hashes are readable. busy calls fail before the others.
type hasher struct {
	busy, hashed, verified int
	err                    error
	deadlines              []time.Time // of the calls of Hash
}

func (h *hasher) Hash(ctx context.Context, text string) (string, error) {
	deadline, _ := ctx.Deadline()
	h.deadlines = append(h.deadlines, deadline)
	if h.hashed++; h.hashed <= h.busy {
		return "", password.ErrBusy
	}
	return "hash of " + text, h.err
}

func (h *hasher) Verify(_ context.Context, text, encoded string) (password.Result, error) {
	if h.verified++; h.verified <= h.busy {
		return password.Result{}, password.ErrBusy
	}
	switch encoded {
	case "costly":
		return password.Result{}, password.ErrTooCostly
	case "malformed":
		return password.Result{}, password.ErrMalformed
	case "bcrypt":
		return password.Result{}, password.ErrTooLongForBcrypt
	}
	return password.Result{Match: encoded == "hash of "+text}, h.err
}

type remembering struct {
	store  *store
	hasher *hasher
	log    bytes.Buffer
	slept  []time.Duration
	policy *Policy
}

const (
	fresh = "tidal lantern orbit 7"
	used  = "tidal lantern orbit 6"
)

// remembers returns a policy that remembers three passwords, of which ada has used one.
func remembers(t *testing.T, change func(*HistoryConfig, *Config)) *remembering {
	t.Helper()
	m := &remembering{store: &store{hashes: []string{"hash of x", "hash of " + used}}, hasher: &hasher{}}
	h := HistoryConfig{
		Scope: "shop/orders", Remember: 3, AccountClaim: "user.email", Store: m.store, Hasher: m.hasher, AppHasher: m.hasher, Canonical: strings.ToLower,
		Logger: slog.New(slog.NewTextHandler(&m.log, nil)), Now: func() time.Time { return time.Unix(1_700_000_000, 0) },
		Sleep: func(_ context.Context, d time.Duration) { m.slept = append(m.slept, d) },
	}
	m.policy = policy(t, func(c *Config) {
		c.Routes[0].Confirmation = nil
		if change != nil {
			change(&h, c)
		}
		var err error
		if c.History, err = NewHistory(h); err != nil {
			t.Fatal(err)
		}
	})
	return m
}

func ada(email any) *identity.Identity {
	return &identity.Identity{Issuer: "i", Subject: "user-1", Claims: map[string]any{"sub": "user-1", "user": map[string]any{"email": email}}}
}

// change asks for a password with an app that responds with status, and returns the refusal.
func (m *remembering) change(who *identity.Identity, account, password string, status int) error {
	r := httptest.NewRequest("POST", "/register", strings.NewReader(`{"password":"`+password+`","email":"`+account+`"}`))
	r.Header.Set("Content-Type", "application/json")
	app := stage.Func(func(w http.ResponseWriter, _ *http.Request) error {
		if status == 0 {
			return errAway
		}
		w.WriteHeader(status)
		return nil
	})
	return m.policy.Stage()(app).ServeHTTP(httptest.NewRecorder(), request.With(r, &request.Info{Path: "/register", Identity: who}))
}

// TestWhosePasswordItIs: old passwords are judged only for the caller who has a token of the account, and a token changes only the history
// of its own account.
func TestWhosePasswordItIs(t *testing.T) {
	tests := map[string]struct {
		who                  *identity.Identity
		account              string
		wantReused, wantKept bool
	}{
		"the caller":                  {ada("ada@x"), "ada@x", true, true},
		"the caller, in capitals":     {ada("Ada@x"), "ADA@X", true, true},
		"the caller, not in the body": {ada("ada@x"), "", true, true},
		"another account":             {ada("ada@x"), "bob@x", false, false},
		"nobody":                      {nil, "ada@x", false, true},
		"nobody's":                    {nil, "", false, false},
		"no claim":                    {&identity.Identity{Subject: "ada@x", Claims: map[string]any{"sub": "ada@x"}}, "ada@x", false, false},
		"an empty claim":              {ada(""), "", false, false},
		"a claim that is a list":      {ada([]any{"ada@x"}), "ada@x", false, false},
		"a claim that is a number":    {ada(7), "7", false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := remembers(t, nil)
			err := m.change(tt.who, tt.account, used, 200)
			reused := err != nil && httperr.From(err).Status == 422
			if reused != tt.wantReused || err != nil && !reused || (m.store.looked > 0) != tt.wantReused || !tt.wantReused && m.hasher.verified > 0 {
				t.Errorf("%v after %d look-ups and %d hashes; want reused %t", err, m.store.looked, m.hasher.verified, tt.wantReused)
			}
			m = remembers(t, nil)
			if err := m.change(tt.who, tt.account, fresh, 200); err != nil || (len(m.store.added) == 1) != tt.wantKept {
				t.Errorf("%v, kept %q; want one %t", err, m.store.added, tt.wantKept)
			}
			for _, key := range m.store.keys {
				if key != m.policy.History.key("ada@x") {
					t.Errorf("key %q", key)
				}
			}
		})
	}
}

// TestWorkIsBounded: no hash is computed for a password that another rule refuses, for one that the app refuses, and after a match.
func TestWorkIsBounded(t *testing.T) {
	m := remembers(t, nil)
	if err := m.change(ada("ada@x"), "ada@x", "short", 200); err == nil || m.store.looked+m.hasher.verified+m.hasher.hashed != 0 {
		t.Errorf("a short password: %v, %d hashes", err, m.hasher.verified)
	}
	for _, status := range []int{0, 400, 404, 422, 500} {
		if err := m.change(nil, "ada@x", fresh, status); (err != nil) != (status == 0) || m.hasher.hashed != 0 || len(m.store.added) != 0 {
			t.Errorf("%d: %v, %d hashes", status, err, m.hasher.hashed)
		}
	}
	m.store.hashes = []string{"1", "2", "3", "hash of " + fresh}
	if err := m.change(ada("ada@x"), "ada@x", fresh, 200); err != nil || m.hasher.verified != 3 {
		t.Errorf("of four hashes: %v, %d compared", err, m.hasher.verified)
	}
	m.store.hashes, m.hasher.verified = []string{"hash of " + fresh, "2", "3"}, 0
	if err := m.change(ada("ada@x"), "ada@x", fresh, 200); err == nil || m.hasher.verified != 1 {
		t.Errorf("a match: %v, %d compared", err, m.hasher.verified)
	}
}

// TestRefusals: each reason for which a password cannot be judged.
func TestRefusals(t *testing.T) {
	tests := map[string]struct {
		change        func(*remembering)
		allow, shadow bool
		want          int
		wantCode      string
		wantRetry     bool
	}{
		"too many":            {change: func(m *remembering) { m.store.hashes, m.store.wait = nil, 61*time.Second }, want: 429, wantCode: "too-many-passwords", wantRetry: true},
		"too many, Allow":     {change: func(m *remembering) { m.store.hashes, m.store.wait = nil, time.Minute }, allow: true, want: 429, wantCode: "too-many-passwords", wantRetry: true},
		"too many, in shadow": {change: func(m *remembering) { m.store.hashes, m.store.wait = nil, time.Minute }, shadow: true},
		"store away":          {change: func(m *remembering) { m.store.err = errAway }, want: 503, wantCode: "password-check-unavailable", wantRetry: true},
		"store away, Allow":   {change: func(m *remembering) { m.store.err = errAway }, allow: true},
		"store away, shadow":  {change: func(m *remembering) { m.store.err = errAway }, shadow: true},
		"busy":                {change: func(m *remembering) { m.hasher.busy = 1 }, want: 503, wantCode: "password-check-unavailable", wantRetry: true},
		"busy, Allow":         {change: func(m *remembering) { m.hasher.busy = 1 }, allow: true},
		"an unusable hash":    {change: func(m *remembering) { m.store.hashes = []string{"costly", "malformed"} }},
		"a usable one after":  {change: func(m *remembering) { m.store.hashes = []string{"costly", "malformed", "hash of " + fresh} }, want: 422, wantCode: "password-refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := remembers(t, func(h *HistoryConfig, c *Config) {
				h.Allow = tt.allow
				if tt.shadow {
					c.ShadowRules = []passwordrules.Code{Reused}
				}
			})
			tt.change(m)
			err := m.change(ada("ada@x"), "ada@x", fresh, 200)
			if tt.want == 0 {
				if err != nil {
					t.Errorf("%v; want none", err)
				}
				return
			}
			e := httperr.From(err)
			if e.Status != tt.want || string(e.Code) != tt.wantCode || (e.Header.Get("Retry-After") != "") != tt.wantRetry {
				t.Errorf("%d %s %v; want %d %s", e.Status, e.Code, e.Header, tt.want, tt.wantCode)
			}
		})
	}
}

// TestRemembering: what is kept, also while hashing is busy. What cannot be kept is logged, without the password and the account.
func TestRemembering(t *testing.T) {
	long := strings.Repeat("ﷺ", 128) // 18 characters each after NFKC, of which bcrypt and argon2 get a digest
	tests := map[string]struct {
		password string
		change   func(*remembering, *HistoryConfig)
		want     []string
		wantKeep int
		wantLog  bool
	}{
		"accepted":         {fresh, nil, []string{"hash of " + fresh}, 3, false},
		"in full width":    {"ｔ" + fresh[1:], nil, []string{"hash of " + fresh}, 3, false},
		"only the date":    {fresh, func(_ *remembering, h *HistoryConfig) { h.Remember, h.MaxAge = 0, 48*time.Hour }, []string{""}, 0, false},
		"busy at first":    {fresh, func(m *remembering, _ *HistoryConfig) { m.hasher.busy = 2 }, []string{"hash of " + fresh}, 3, false},
		"hashing fails":    {fresh, func(m *remembering, _ *HistoryConfig) { m.hasher.err = password.ErrNUL }, nil, 0, true},
		"the store fails":  {fresh, func(m *remembering, _ *HistoryConfig) { m.store.err = errAway }, []string{"hash of " + fresh}, 3, true},
		"too long by NFKC": {long, nil, []string{"hash of " + canonicalPassword(long)}, 3, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := remembers(t, nil)
			if tt.change != nil {
				tt.change(m, &m.policy.History.HistoryConfig)
			}
			if err := m.change(nil, "ada@x", tt.password, 204); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(m.store.added, tt.want) || m.store.keep != tt.wantKeep {
				t.Errorf("kept %q of %d; want %q", m.store.added, m.store.keep, tt.want)
			}
			if want := m.policy.History.MaxAge + 731*24*time.Hour; len(tt.want) > 0 && m.store.expiresFor != want {
				t.Errorf("for %s; want %s", m.store.expiresFor, want)
			}
			if len(m.slept) != m.hasher.busy {
				t.Errorf("slept %v", m.slept)
			}
			if log := m.log.String(); (log != "") != tt.wantLog || strings.Contains(log, "tidal") || strings.Contains(log, "ada") {
				t.Errorf("logged %q", log)
			}
		})
	}
	if got := canonicalPassword(long); len(got) != 64 {
		t.Errorf("%d bytes", len(got))
	}
}

// TestBusyForTooLong: the response waits for a bounded time until the password is kept.
func TestBusyForTooLong(t *testing.T) {
	m := remembers(t, nil)
	m.hasher.busy = 1000
	ctx, cancel := context.WithCancel(t.Context())
	m.policy.History.Sleep = func(context.Context, time.Duration) { cancel() }
	if _, err := m.policy.History.hash(ctx, fresh); !errors.Is(err, password.ErrBusy) || m.hasher.hashed != 1 {
		t.Errorf("%v after %d", err, m.hasher.hashed)
	}
}

// TestTheClientLeaves: a password that the app accepted is kept, also if the client does not wait for the response.
func TestTheClientLeaves(t *testing.T) {
	m := remembers(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	r := httptest.NewRequest("POST", "/register", strings.NewReader("")).WithContext(ctx)
	cancel()
	m.hasher.busy = 1 // waiting for a place ends with the context
	m.policy.History.remember(r, []*change{{password: fresh, account: "ada@x"}})
	if !slices.Equal(m.store.added, []string{"hash of " + fresh}) {
		t.Errorf("kept %q", m.store.added)
	}
}

// TestTwoRoutes: a request on two routes is remembered once.
func TestTwoRoutes(t *testing.T) {
	m := remembers(t, func(_ *HistoryConfig, c *Config) { c.Routes = append(c.Routes, c.Routes[0]) })
	if err := m.change(nil, "ada@x", fresh, 200); err != nil || len(m.store.added) != 1 {
		t.Errorf("%v, kept %q", err, m.store.added)
	}
}

// TestTwoFields: a password in the fields of two routes is remembered once, and two passwords within the time of one.
func TestTwoFields(t *testing.T) {
	for second, want := range map[string]int{fresh: 1, fresh + "7": 2} {
		m := remembers(t, func(_ *HistoryConfig, c *Config) {
			other := c.Routes[0]
			other.Password.JSON = []string{"again"}
			c.Routes = append(c.Routes, other)
		})
		err := m.change(nil, "ada@x", fresh+`","again":"`+second, 200)
		if err != nil || len(m.store.added) != want || len(m.hasher.deadlines) != want {
			t.Errorf("%v, kept %q; want %d", err, m.store.added, want)
		}
		for _, deadline := range m.hasher.deadlines {
			if deadline.IsZero() || deadline != m.hasher.deadlines[0] || time.Until(deadline) > 10*time.Second {
				t.Errorf("deadlines %v; want one, in 10 s", m.hasher.deadlines)
			}
		}
	}
}

// TestExpired: by the clock, and not without a date.
func TestExpired(t *testing.T) {
	const maxAge = 90 * 24 * time.Hour
	now := time.Unix(1_700_000_000, 0)
	tests := map[string]struct {
		store  store
		maxAge time.Duration
		name   string
		want   bool
	}{
		"young":         {store{changed: now.Add(-maxAge + time.Second)}, maxAge, "ada", false},
		"old":           {store{changed: now.Add(-maxAge)}, maxAge, "ada", true},
		"of the future": {store{changed: now.Add(time.Hour)}, maxAge, "ada", false},
		"no date":       {store{}, maxAge, "ada", false},
		"no account":    {store{changed: now.Add(-2 * maxAge)}, maxAge, "", false},
		"no maximum":    {store{changed: now.Add(-2 * maxAge)}, 0, "ada", false},
		"store away":    {store{changed: now.Add(-2 * maxAge), err: errAway}, maxAge, "ada", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := remembers(t, func(h *HistoryConfig, _ *Config) { h.Store, h.MaxAge = &tt.store, tt.maxAge })
			if got := m.policy.History.Expired(t.Context(), tt.name); got != tt.want {
				t.Errorf("%t; want %t", got, tt.want)
			}
			if logged := m.log.Len() > 0; logged != (tt.store.err != nil) {
				t.Errorf("logged %q", m.log.String())
			}
		})
	}
	var none *History
	if none.Expired(t.Context(), "ada") {
		t.Error("without a history a password has expired")
	}
}

// TestCheckPrevious: the first hashes of the app are compared, at most as many as are remembered.
func TestCheckPrevious(t *testing.T) {
	tests := map[string]struct {
		previous     []string
		want         error
		wantReused   bool
		wantCompared int
	}{
		"none":           {nil, nil, false, 0},
		"others":         {[]string{"a", "b", "c", "hash of " + fresh}, nil, false, 3},
		"the second":     {[]string{"a", "hash of " + fresh, "malformed"}, nil, true, 2},
		"bcrypt":         {[]string{"bcrypt", "hash of " + fresh}, nil, true, 2},
		"too costly":     {[]string{"costly", "hash of " + fresh}, password.ErrTooCostly, false, 1},
		"malformed":      {[]string{"malformed"}, password.ErrMalformed, false, 1},
		"the empty hash": {[]string{""}, password.ErrMalformed, false, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := remembers(t, nil)
			err := m.policy.CheckPrevious(t.Context(), fresh, tt.previous)
			if reused := httperr.From(err).Code == "password-refused"; reused != tt.wantReused || !reused && !errors.Is(err, tt.want) || m.hasher.verified != tt.wantCompared {
				t.Errorf("%v after %d; want %v, reused %t after %d", err, m.hasher.verified, tt.want, tt.wantReused, tt.wantCompared)
			}
		})
	}
}

func TestNewHistory(t *testing.T) {
	if _, err := NewHistory(HistoryConfig{Scope: "a/b"}); err == nil {
		t.Error("a history without a store has no error")
	}
}

// TestDatesAlone: without remember no password is compared, so that neither an unavailable store nor the bound of comparisons refuses one.
func TestDatesAlone(t *testing.T) {
	m := remembers(t, func(h *HistoryConfig, _ *Config) { h.Remember, h.MaxAge = 0, 24*time.Hour })
	m.store.wait, m.store.err = time.Minute, errAway
	if err := m.change(ada("ada@x"), "ada@x", used, 200); err != nil || m.store.looked != 0 || m.hasher.verified != 0 {
		t.Errorf("%v; %d looks, %d comparisons", err, m.store.looked, m.hasher.verified)
	}
}
