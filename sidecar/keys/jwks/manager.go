package jwks

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/pool"
)

// Defaults and minimums of a Spec, and the interval at which a secret is read again.
const (
	DefaultRefreshInterval = 5 * time.Minute
	MinRefreshInterval     = 10 * time.Second
	DefaultMaxStale        = 24 * time.Hour
	secretInterval         = 10 * time.Second
	// MinSecretStale is the shortest MaxStale of a set in a Secret.
	MinSecretStale = 2 * secretInterval
)

// Spec says where one provider's keys come from. It has exactly one of URI, Inline and Secret.
type Spec struct {
	// Provider is the name of the provider in the policy, and a label of metrics.
	Provider string
	// Issuer is the provider's. Keys that name another issuer are not used.
	Issuer string
	// Algorithms are the provider's. See keyset.CheckAlgorithms.
	Algorithms []string

	// URI is fetched in the background. It is https, or http on a loopback address.
	URI string
	// InsecureHTTP accepts an http URI on any host.
	InsecureHTTP bool
	// Bearer is the token in the Authorization header of each request, if not nil. It is read for each request, and BearerName
	// identifies it. The URI must then be https.
	Bearer     secret.Source
	BearerName string
	// RefreshInterval is the time between two fetches, varied by up to 10 %; zero means DefaultRefreshInterval.
	RefreshInterval time.Duration
	// MaxStale is how long a set stays active after the URI or the Secret last confirmed it; zero means DefaultMaxStale. A Live
	// secret decides itself how long its value is used, and MaxStale applies to the last good set while the value is not valid.
	MaxStale time.Duration
	// CABundle contains PEM certificates of the CAs that the URI's server must be signed by; empty means those of the system.
	CABundle []byte
	// CAFile is a file that is used in place of CABundle, and read for each fetch; empty means CABundle.
	CAFile string

	// Inline is a JWK set of public keys.
	Inline []byte

	// ShortSecret accepts a secret that is shorter than its algorithm requires. See keyset.Options.
	ShortSecret bool

	// Secret is followed if it is Live, and read again every ten seconds otherwise. SecretName identifies it. See
	// keyset.ParseSecret for its content.
	Secret     secret.Source
	SecretName string
}

// ManagerConfig configures a Manager. Each field may be nil: no metrics, no logs, time.Now, the proxy of the environment.
type ManagerConfig struct {
	Registerer prometheus.Registerer
	Logger     *slog.Logger
	Now        func() time.Time
	// Proxy returns the proxy of a request for a key set; see http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)
}

// Manager shares sources between the snapshots of a policy, so that a reload does not fetch keys again and does not lose the
// last good set. It lives as long as the process.
type Manager struct {
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	pace    pace
	proxy   func(*http.Request) (*url.URL, error)

	sources *pool.Pool[specKey, *opened]
}

// specKey identifies a Spec.
type specKey [sha256.Size]byte

// opened is a source with its Spec.
type opened struct {
	spec   Spec
	source managed
}

// NewManager returns a Manager without sources, and registers its metrics.
func NewManager(c ManagerConfig) (*Manager, error) {
	m := &Manager{log: c.Logger, now: c.Now, pace: defaultPace(), proxy: c.Proxy, sources: pool.New[specKey, *opened](0)}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if m.now == nil {
		m.now = time.Now
	}
	if m.proxy == nil {
		m.proxy = http.ProxyFromEnvironment
	}
	m.metrics = newMetrics(m)
	if c.Registerer != nil {
		if err := c.Registerer.Register(m.metrics); err != nil {
			return nil, fmt.Errorf("registering JWKS metrics: %w", err)
		}
	}
	return m, nil
}

// Acquire returns the source for spec. Callers with an equal spec share one source, until each has called release. It returns
// immediately: a set that must be loaded is loaded in the background. A spec that can never work, such as one with an invalid
// inline set, is an error.
func (m *Manager) Acquire(spec Spec) (source Source, release func(), err error) {
	spec, err = spec.checked()
	if err != nil {
		return nil, nil, fmt.Errorf("keys of provider %q: %w", spec.Provider, err)
	}
	before := m.sources.InUse()
	s, release, err := m.sources.Acquire(spec.key(), pool.Direct, func() (*opened, func(), error) {
		s, err := m.open(spec, before)
		if err != nil {
			return nil, nil, err
		}
		return s, s.source.close, nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("keys of provider %q: %w", spec.Provider, err)
	}
	return s.source, release, nil
}

// open creates and starts the source of a new spec. before are the sources that already exist.
func (m *Manager) open(spec Spec, before []*opened) (*opened, error) {
	o := &opened{spec: spec}
	live, ok := spec.Secret.(Live)
	switch {
	case spec.Inline != nil:
		set, err := keyset.Parse(spec.Inline, spec.options())
		if err != nil {
			return nil, err
		}
		logDropped(m.log, spec.Provider, nil, set)
		o.source = static{set: set}
	case ok:
		f := m.newFollowed(spec, live)
		go f.run()
		o.source = f
	default:
		p, err := m.newPolled(spec)
		if err != nil {
			return nil, err
		}
		p.current.Store(inherited(spec, before))
		go p.run()
		o.source = p
	}
	return o, nil
}

func (m *Manager) newFollowed(spec Spec, live Live) *followed {
	life, cancel := context.WithCancel(context.Background())
	return &followed{
		name: spec.Provider, source: live, options: spec.options(), maxStale: spec.MaxStale, now: m.now, log: m.log,
		observe: m.observer(spec), waiting: m.newWaiting(), life: life, cancel: cancel, first: make(chan struct{}),
	}
}

func (m *Manager) newPolled(spec Spec) (*polled, error) {
	l, err := m.newLoader(spec)
	if err != nil {
		return nil, err
	}
	absent, err := lru.New[string, time.Time](maxAbsent)
	if err != nil {
		return nil, fmt.Errorf("creating cache of absent keys: %w", err)
	}
	interval := spec.RefreshInterval
	if spec.Secret != nil {
		interval = secretInterval
	}
	life, cancel := context.WithCancel(context.Background())
	return &polled{
		took: func(d time.Duration) { m.metrics.seconds.WithLabelValues(spec.Provider).Observe(d.Seconds()) },
		name: spec.Provider, loader: l, interval: interval, maxStale: spec.MaxStale, pace: m.pace, now: m.now, log: m.log,
		observe: m.observer(spec), waiting: m.newWaiting(), life: life, cancel: cancel, absent: absent, first: make(chan struct{}),
	}, nil
}

func (m *Manager) newLoader(spec Spec) (loader, error) {
	if spec.Secret != nil {
		return &mounted{source: spec.Secret, options: spec.options(), now: m.now}, nil
	}
	roots, err := check.Certificates(spec.CABundle)
	if err != nil {
		return nil, err
	}
	return &remote{
		uri: spec.URI, bearer: spec.Bearer, caFile: spec.CAFile, client: m.newClient(roots), connect: m.newClient, options: spec.options(), now: m.now,
	}, nil
}

func (m *Manager) observer(spec Spec) func(result string) {
	for _, result := range []string{resultOK, resultNotModified, resultError} {
		m.metrics.fetches.WithLabelValues(spec.Provider, result) // increase() does not count the load that creates a series
	}
	m.metrics.seconds.WithLabelValues(spec.Provider)
	return func(result string) { m.metrics.fetches.WithLabelValues(spec.Provider, result).Inc() }
}

func (m *Manager) newWaiting() *waiting {
	return &waiting{limit: m.pace.wait, most: m.pace.maxWaiters}
}

// inherited returns the last good set of an existing source with the same URI and CA bundle, parsed with the new algorithms. So
// a policy can change during an outage of the issuer without losing its keys. It returns nil if there is no such set.
func inherited(spec Spec, before []*opened) *content {
	if spec.URI == "" {
		return nil
	}
	for _, s := range before {
		p, ok := s.source.(*polled)
		if !ok || s.spec.URI != spec.URI || string(s.spec.CABundle) != string(spec.CABundle) || s.spec.CAFile != spec.CAFile {
			continue
		}
		c := p.current.Load()
		if c == nil {
			continue
		}
		if set, err := keyset.Parse(c.body, spec.options()); err == nil {
			return &content{set: set, body: c.body, at: c.at}
		}
	}
	return nil
}

// options returns how the spec's set is parsed.
func (s Spec) options() keyset.Options {
	return keyset.Options{Algorithms: s.Algorithms, Issuer: s.Issuer, ShortSecret: s.ShortSecret}
}

// checked returns the spec with its defaults filled in, or an error if it is not valid.
func (s Spec) checked() (Spec, error) {
	if err := keyset.CheckAlgorithms(s.Algorithms); err != nil {
		return s, fmt.Errorf("checking algorithms: %w", err)
	}
	origins := 0
	for _, present := range []bool{s.URI != "", s.Inline != nil, s.Secret != nil} {
		if present {
			origins++
		}
	}
	if origins != 1 {
		return s, errors.New("exactly one of URI, inline set and secret is required")
	}
	if s.Secret == nil && keyset.Symmetric(s.Algorithms) {
		return s, errors.New("HS* algorithms need a Secret: an HMAC secret is never fetched by URL or written in a policy")
	}
	if s.Secret != nil && s.SecretName == "" {
		return s, errors.New("the secret has no name")
	}
	if s.URI != "" {
		if err := check.KeysURI(s.URI, s.InsecureHTTP); err != nil {
			return s, fmt.Errorf("checking JWKS address: %w", err)
		}
	}
	switch {
	case s.Bearer != nil && !strings.HasPrefix(s.URI, "https:"):
		return s, errors.New("a bearer token is sent over https only")
	case s.Bearer != nil && s.BearerName == "":
		return s, errors.New("the bearer token has no name")
	}
	s.RefreshInterval = cmp.Or(s.RefreshInterval, DefaultRefreshInterval)
	s.MaxStale = cmp.Or(s.MaxStale, DefaultMaxStale)
	if s.RefreshInterval < MinRefreshInterval {
		return s, fmt.Errorf("the refresh interval is shorter than %s", MinRefreshInterval)
	}
	if s.URI != "" && s.MaxStale < s.RefreshInterval {
		return s, errors.New("maxStale is shorter than the refresh interval, so the set would expire before it is refreshed")
	}
	if _, live := s.Secret.(Live); !live && s.URI == "" && s.MaxStale < MinSecretStale {
		return s, fmt.Errorf("maxStale is shorter than %s", MinSecretStale)
	}
	return s, nil
}

// key returns the key of a spec whose defaults are filled in. Its parts are length-prefixed, so that no two specs share a key.
func (s Spec) key() specKey {
	var b []byte
	part := func(text string) { b = fmt.Appendf(b, "%d:%s", len(text), text) }
	part(s.Provider)
	part(s.Issuer)
	part(s.URI)
	part(s.RefreshInterval.String())
	part(s.MaxStale.String())
	part(strconv.FormatBool(s.InsecureHTTP))
	part(strconv.FormatBool(s.ShortSecret))
	part(s.BearerName)
	part(string(s.CABundle))
	part(s.CAFile)
	part(string(s.Inline))
	part(s.SecretName)
	for _, name := range s.Algorithms {
		part(name)
	}
	return sha256.Sum256(b)
}

// newest returns the active sources, sorted by provider. It returns the newest one if a provider has two during a reload.
func (m *Manager) newest() []*opened {
	latest := map[string]*opened{}
	for _, s := range m.sources.InUse() {
		if latest[s.spec.Provider] == nil { // the newest comes first
			latest[s.spec.Provider] = s
		}
	}
	return slices.SortedFunc(maps.Values(latest), func(a, b *opened) int { return cmp.Compare(a.spec.Provider, b.spec.Provider) })
}
