package loginprotection

import (
	"context"
	"net/http"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// longestWait bounds the time that a refusal waits to take as long as a response of the app.
const longestWait = 3 * time.Second

// respond writes the response to a refused attempt, after the time that an attempt with as many failures takes that is allowed.
func (a *attempt) respond(w http.ResponseWriter, r *http.Request, b Begun) error {
	if a.cfg.TooManyRequests {
		return locked(b.Wait)
	}
	f, refused := a.route.form(r), a.cfg.Now()
	s := a.recall(r, f)
	status := http.StatusUnauthorized
	if s != nil {
		status = s.Status
	}
	took := a.memory.duration(a.index, answer{status, a.looksUp()}, a.cfg.Jitter)
	if rest := a.delay(b.Failures) + min(took-a.cfg.Now().Sub(refused), longestWait); rest > 0 {
		a.wait(r.Context(), rest)
	}
	if s == nil {
		return a.substitute()
	}
	s.write(w, r.Method)
	return nil
}

// recall returns the sample for a request: that of its domain, that of its host and origin, or one that has neither.
func (a *attempt) recall(r *http.Request, form string) *sample {
	if form == "" {
		return nil
	}
	at := placeOf(r)
	forms := []string{at.ofDomain(a.name).form(form), at.form(form), form}
	for _, f := range forms {
		if s := a.memory.recall(a.index, f); s != nil {
			return s
		}
	}
	for _, f := range forms {
		if s := a.stored(r.Context(), f); s != nil {
			return s
		}
	}
	return nil
}

// stored returns the sample of another replica, or nil.
func (a *attempt) stored(ctx context.Context, form string) *sample {
	b, err := a.store.Get(ctx, a.sampleKey(form))
	if err != nil || b == nil {
		return nil
	}
	s, err := decodeSample(b)
	if err != nil {
		a.cfg.Logger.WarnContext(ctx, "a stored response is not used", "route", a.route.Name, "error", err)
		return nil
	}
	return s
}

// substitute is the response while the app's own is not known. It says the same about every account.
func (a *attempt) substitute() error {
	if a.route.Kind == PasswordReset {
		return &httperr.Error{Status: http.StatusTooManyRequests, Code: "login-refused", Detail: "There were too many attempts. Try again later."}
	}
	return &httperr.Error{Status: http.StatusUnauthorized, Code: "login-failed", Detail: "The login failed."}
}
