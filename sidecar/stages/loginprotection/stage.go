package loginprotection

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

// attempt is one request on a protected route.
type attempt struct {
	*guard
	route    *Route
	index    int
	info     *request.Info
	name     string // canonical
	secrets  []string
	password string // to look up
	breached bool
	device   string // the known device, or ""
	known    []mark // that the browser has sent
	counters []Counter
	kinds    []string // of the counters
	store    Store    // that has the pending attempt
	logsIn   bool     // a response without failure is a login
	emitted  bool     // the attempt's event
}

// Kinds of counters, the values of a label.
const (
	kindAccount = "account"
	kindAddress = "address"
	kindDevice  = "device"
	kindGlobal  = "global"
)

func (g *guard) stage(next stage.Handler) stage.Handler {
	return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		info := request.From(r)
		known := g.device.take(r, g.cookie) // also on other routes, so that no app sees it
		target := info.Target()
		for i := range g.cfg.Routes {
			if route := &g.cfg.Routes[i]; route.Match.MatchAny(r.Method, &target) {
				a := &attempt{guard: g, route: route, index: i, info: info, logsIn: !route.AnyMethod || r.Method == http.MethodPost}
				return a.serve(w, r, known, next)
			}
		}
		return next.ServeHTTP(w, r)
	})
}

func (a *attempt) serve(w http.ResponseWriter, r *http.Request, known []mark, next stage.Handler) error {
	given, err := a.route.read(r)
	if err != nil {
		a.count("unreadable")
		a.refused(event.Refused, reasonUnreadable)
		if refusal := a.info.Refuse(a.rule(), httperr.From(err)); refusal != nil {
			return refusal
		}
		return next.ServeHTTP(w, r)
	}
	a.name, a.password, a.known = Canonical(given.account), given.password, known
	a.secrets = slices.Concat(given.secrets, []string{nameOf(given.account)}, beginnings(given.secrets), chosen(r))
	r.Header.Del("Accept-Encoding") // what is remembered of the response must suit every client; compression comes after this stage
	a.prepare(r.Context(), known)
	begun, err := a.begin(r.Context())
	switch {
	case err != nil:
		a.count("unavailable")
		a.refused(event.Failed, reasonUnavailable)
		if refusal := a.info.Refuse(a.rule(), unavailable(err)); refusal != nil {
			return refusal
		}
		return next.ServeHTTP(w, r)
	case !begun.Allowed:
		a.count("refused")
		a.refused(event.Refused, reasonLocked)
		if a.refuse(begun) {
			return a.respond(w, r, begun)
		}
		return next.ServeHTTP(w, r)
	}
	if err := a.challenge(r, begun.Failures); err != nil {
		a.refused(event.Refused, reasonChallenge)
		a.settle(context.WithoutCancel(r.Context()), neutral)
		return err
	}
	a.slowDown(r.Context(), begun.Failures)
	return a.forward(w, r, next)
}

// prepare chooses the counters of the attempt.
func (a *attempt) prepare(ctx context.Context, known []mark) {
	address := network(a.info.ClientAddr)
	account, perAccount, perAddress := a.space.Hash("account", a.name), a.cfg.PerAccount, a.cfg.PerAddress
	if a.route.Kind == PasswordReset {
		perAccount, perAddress = a.cfg.ResetsPerAccount, a.cfg.ResetsPerAddress
	} else if a.cfg.KnownDevice.Failures > 0 && a.name != "" {
		if a.device = a.guard.device.find(ctx, known, a.name); a.device != "" {
			a.add(kindDevice, a.cfg.KnownDevice.counter(a.space.Key("device", account, a.device)))
			return
		}
	}
	if a.name != "" {
		a.add(kindAccount, perAccount.counter(accountKey(a.space, a.route.Kind, account)))
	}
	a.add(kindAddress, perAddress.counter(a.space.Key("address", string(a.route.Kind), address)))
}

// accountKey is the key under which the attempts at an account count, on all routes of a kind. account is its hash.
func accountKey(space keyspace.Keyspace, kind Kind, account string) string {
	return space.Key("account", string(kind), account)
}

func (a *attempt) add(kind string, c Counter) {
	a.kinds, a.counters = append(a.kinds, kind), append(a.counters, c)
}

// begin makes the attempt pending. A known device that has used up its budget counts like an unknown one.
func (a *attempt) begin(ctx context.Context) (Begun, error) {
	begun, err := a.beginAny(ctx)
	if err == nil && !begun.Allowed && a.device != "" {
		a.device, a.counters, a.kinds = "", nil, nil
		a.prepare(ctx, nil)
		return a.beginAny(ctx)
	}
	return begun, err
}

func (a *attempt) beginAny(ctx context.Context) (Begun, error) {
	begun, err := a.beginIn(ctx, a.cfg.Store)
	if err != nil && a.cfg.OnFailure == Allow {
		a.cfg.Metrics.unavailable.Inc()
		begun, err = a.beginIn(ctx, a.cfg.Local)
	}
	return begun, err
}

func (a *attempt) beginIn(ctx context.Context, s Store) (Begun, error) {
	a.store = s
	return s.Begin(ctx, a.counters)
}

func (a *attempt) rule() request.Rule {
	return request.Rule{Stage: stageName, Name: a.route.Name, Shadow: a.cfg.Shadow}
}

func (a *attempt) count(outcome string) {
	a.cfg.Metrics.attempts.WithLabelValues(a.route.Name, outcome).Inc()
}

// refuse records the refusal and reports whether it is enforced.
func (a *attempt) refuse(b Begun) bool {
	a.cfg.Metrics.refused.WithLabelValues(a.route.Name, a.kinds[b.Blocking]).Inc()
	return a.info.Refuse(a.rule(), locked(b.Wait)) != nil
}

func locked(wait time.Duration) *httperr.Error {
	e := &httperr.Error{Status: http.StatusTooManyRequests, Code: "login-refused", Detail: "There were too many attempts. Try again later."}
	return e.With("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
}

func unavailable(err error) *httperr.Error {
	e := &httperr.Error{Status: http.StatusServiceUnavailable, Code: "login-protection-unavailable", Detail: "Logging in is not possible at the moment.", Cause: err}
	return e.With("Retry-After", "1")
}

// forward sends the attempt to the app, and ends it with what the app says.
func (a *attempt) forward(w http.ResponseWriter, r *http.Request, next stage.Handler) error {
	rec := &recorder{Writer: response.Writer{ResponseWriter: w}, attempt: a, ctx: context.WithoutCancel(r.Context()), form: a.route.form(r), place: placeOf(r), status: http.StatusOK}
	rec.before, rec.sent = w.Header().Clone(), a.cfg.Now()
	rec.OnHeader = rec
	a.tellExpired(r)
	done := false
	defer func() { // also after a panic, by which the proxy ends a broken response
		if !done {
			rec.end(aborted)
		}
	}()
	a.lookUp(r) // in the time that refusals are made to take, so that they do not differ
	err := next.ServeHTTP(rec, r)
	done = true
	switch {
	case err != nil && !rec.begun && (r.Context().Err() != nil || brokeOff(err)): // also if the client left, or the time of the request is over
		rec.end(aborted)
	case err != nil && !rec.begun:
		rec.end(neutral)
	case !rec.begun:
		rec.begin(http.StatusOK)
	}
	if err == nil { // a response that broke off is no sample
		rec.remember()
	}
	return err
}

// brokeOff reports whether an app that got the request sent no valid response.
func brokeOff(err error) bool {
	code := httperr.From(err).Code
	return code == "app-bad-response" || code == "app-timeout"
}

// result is what the app said.
type result int

const (
	neutral result = iota
	success
	failure
	// aborted: the client left, or the response broke off, before the app's header. It counts as a failure, because the app may have
	// checked the password.
	aborted
)

func (a *attempt) resultOf(status int, h http.Header) result {
	failed := false
	for _, s := range a.route.FailureStatuses {
		failed = failed || s == status
	}
	if m := a.route.FailureHeader; m.Name != "" && !failed {
		for _, v := range h.Values(m.Name) {
			failed = failed || len(v) >= len(m.Prefix) && v[:len(m.Prefix)] == m.Prefix
		}
	}
	switch {
	case a.route.Kind == PasswordReset && status < http.StatusInternalServerError:
		return failure // every request for a new password counts
	case failed:
		return failure
	case status < http.StatusBadRequest && a.logsIn:
		return success
	}
	return neutral
}

// settle ends the pending attempt.
func (a *attempt) settle(ctx context.Context, r result) {
	outcomes := make([]Outcome, len(a.counters))
	for i := range outcomes {
		switch {
		case r == failure || r == aborted:
			outcomes[i] = Fail
		case r == success && a.kinds[i] != kindAddress:
			outcomes[i] = Clear
		default:
			outcomes[i] = Release
		}
	}
	lockedBy, err := a.store.End(ctx, a.counters, outcomes)
	if err != nil { // the attempt stays pending, which counts as a failure for a minute
		a.cfg.Metrics.unavailable.Inc()
		a.cfg.Logger.WarnContext(ctx, "counting the outcome of a login failed", "route", a.route.Name, "error", err)
	}
	for i, is := range lockedBy {
		if is {
			a.lockedOut(ctx, a.kinds[i])
		}
	}
	switch {
	case a.route.Kind == PasswordReset:
		a.count("success")
	case r == failure || r == aborted:
		a.count("failure")
		a.countAll(ctx)
	case r == success:
		a.count("success")
		if a.breached {
			a.cfg.Metrics.breached.WithLabelValues(a.route.Name).Inc()
		}
	default:
		a.count("neutral")
	}
}

// countAll counts a failure of the whole policy. It refuses nothing.
func (a *attempt) countAll(ctx context.Context) {
	all := []Counter{a.cfg.Global.counter(a.space.Key("all"))}
	reached, err := a.store.End(ctx, all, []Outcome{Fail})
	if err == nil && reached[0] {
		a.lockedOut(ctx, kindGlobal)
	}
}

// lockedOut records that a counter has reached its limit.
func (a *attempt) lockedOut(ctx context.Context, kind string) {
	a.cfg.Metrics.locked.WithLabelValues(kind).Inc()
	e := event.Event{Kind: event.LoginLocked, Outcome: event.Refused, Reason: kind, Stage: stageName, Rule: a.route.Name}
	if kind == kindAccount || kind == kindDevice { // the others are about no account
		e.Account = a.name
	}
	a.info.Emit(e)
	message := "too many failed logins"
	if a.route.Kind == PasswordReset {
		message = "too many requests for a new password"
	}
	a.cfg.Logger.WarnContext(ctx, message, "kind", kind, "route", a.route.Name)
}
