// Package console is the web page of postern console: what a person on call sees of policies, pods, sessions and the audit trail, with the
// rights of that person. It renders HTML on the server. What it shows comes from interfaces, so that it knows no client of a cluster.
//
// A page on the person's own machine is exposed to every web site that the person visits and to everybody else who uses the machine.
// Package console therefore trusts no request: see guard.go and signin.go. It trusts no text either: names of accounts, user agents and paths
// are chosen by attackers, and all texts go through the template "text".
package console

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/posterndev/postern/cmd/postern/internal/overview"
	"github.com/posterndev/postern/cmd/postern/internal/scrape"
	"github.com/posterndev/postern/sidecar/audit/record"
)

// Cluster is what the API server knows.
type Cluster interface {
	// Observe reads what an overview is computed from.
	Observe(context.Context) (overview.Input, error)
}

// Sidecars are the running sidecars.
type Sidecars interface {
	// Traffic returns what happened between the last two reads. Of one policy it has a row for each pod, and the lists of attackers.
	// Without a name it has a row for each policy.
	Traffic(context.Context, Name) (scrape.View, error)
}

// Sessions are the sessions of the users of an app.
type Sessions interface {
	// Right says whether the person may reach the sidecars of a namespace, without which no session can be read or ended.
	Right(ctx context.Context, namespace string) Right
	List(context.Context, Subject) ([]Session, error)
	// End ends one session, or all of the subject if the id is empty, and returns their number.
	End(ctx context.Context, of Subject, id string) (int, error)
}

// Trail is the audit trail.
type Trail interface {
	// Search returns the latest records of a search, at most its limit, the oldest first.
	Search(context.Context, Search) ([]Found, error)
}

// Found is a record of the audit trail. Altered names a column of the table that does not have the value of the record; empty for none.
type Found struct {
	*record.Record
	Altered string
}

// Name is the name of a policy. The zero Name means all policies.
type Name struct{ Namespace, Name string }

// Right is a right that a person has, or the reason why not.
type Right struct {
	Allowed bool
	Why     string
}

// Subject is a user of the app that a policy guards.
type Subject struct {
	Policy Name
	// Subject is the sub of the tokens. Issuer is the iss of an external provider; empty for the policy's own tokens.
	Subject, Issuer string
}

// Session is a session of a subject.
type Session struct {
	ID        string
	Browser   string
	OS        string
	Address   string
	FirstSeen time.Time
	LastSeen  time.Time
	Expires   time.Time
}

// Search selects records of the audit trail, as the flags of postern audit search do.
type Search struct {
	Subject, Action, Policy, Outcome, Since, Until string
	Limit                                          int
}

// Config configures a Console.
type Config struct {
	Cluster  Cluster
	Sidecars Sidecars
	Sessions Sessions
	// Trail is nil if no database is given.
	Trail Trail
	// Context is the context of the kubeconfig, User the name that the API server has for the person, and Namespace the namespace that is
	// shown. An empty Namespace means all.
	Context, User, Namespace string
	// Port is the port of 127.0.0.1 under which browsers reach the console.
	Port int
	// Link is called with each new link for signing in, before the link before it is refused. The link is a secret.
	Link func(link string)
	Log  *slog.Logger
	// AnyUser accepts connections of other users of this machine. Where the system does not say whose a connection is, all are accepted.
	AnyUser bool
	// Refresh is how often pages read their live parts; every 5s if 0.
	Refresh time.Duration
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

// Console serves the pages.
type Console struct {
	cfg     Config
	pages   pages
	access  *signIns
	notices notices
	// places bounds the requests that are served at the same time.
	places     chan struct{}
	complaints complaints
	overview   *latest[overview.Input]
	handler    http.Handler
}

// New returns a console. It calls c.Link with the first link.
func New(c Config) (*Console, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Refresh = cmp.Or(c.Refresh, refresh)
	p, err := parsePages()
	if err != nil {
		return nil, err
	}
	k := &Console{cfg: c, pages: p, places: make(chan struct{}, maxServed), overview: newLatest[overview.Input](freshness, c.Now)}
	k.access = newSignIns(c.Now, func(secret string) { c.Link(k.link(secret)) })
	k.handler = k.guarded(k.routes())
	return k, nil
}

// ServeHTTP implements http.Handler.
func (k *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { k.handler.ServeHTTP(w, r) }

func (k *Console) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+startPath, k.start)
	mux.HandleFunc("GET "+staticPath+"{file}", serveStatic)
	for pattern, page := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /{$}":                              k.overviewPage,
		"GET /traffic":                          k.trafficPage,
		"GET /audit":                            k.auditPage,
		"GET /policies/{namespace}/{name}":      k.policyPage,
		"POST /policies/{namespace}/{name}/end": k.endSessions,
		"/":                                     k.notFound,
	} {
		mux.Handle(pattern, k.signedIn(page))
	}
	return mux
}
