package loginprotection

import (
	"errors"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/lookup/challenge"
	"github.com/posterndev/postern/sidecar/lookup/service"
)

// challenge returns the refusal of an attempt that needs a solved challenge and has none. The app does not get the client's token.
func (a *attempt) challenge(r *http.Request, failures int) error {
	if a.cfg.Challenge == nil {
		return nil
	}
	tokens := r.Header.Values(a.cfg.ChallengeHeader)
	r.Header.Del(a.cfg.ChallengeHeader)
	if a.route.Kind != Login || failures < a.cfg.ChallengeAfter {
		return nil
	}
	token := ""
	if len(tokens) == 1 {
		token = tokens[0]
	}
	err := a.cfg.Challenge.Verify(r.Context(), token, a.info.ClientAddr)
	switch {
	case err == nil:
		a.cfg.Metrics.challenges.WithLabelValues("solved").Inc()
		return nil
	case errors.Is(err, service.ErrUnavailable):
		a.cfg.Metrics.challenges.WithLabelValues("unavailable").Inc()
		a.cfg.Logger.WarnContext(r.Context(), "a challenge could not be verified", "route", a.route.Name, "onFailure", a.cfg.ChallengeOnFailure, "error", err)
		if a.cfg.ChallengeOnFailure == Allow {
			return nil
		}
		return a.info.Refuse(a.rule(), unavailable(err))
	case errors.Is(err, challenge.ErrMissing):
		a.cfg.Metrics.challenges.WithLabelValues("missing").Inc()
		return a.info.Refuse(a.rule(), &httperr.Error{Status: http.StatusForbidden, Code: "challenge-required", Detail: "Solve the challenge, and send its token with the request.", Cause: err})
	}
	a.cfg.Metrics.challenges.WithLabelValues("rejected").Inc()
	return a.info.Refuse(a.rule(), &httperr.Error{Status: http.StatusForbidden, Code: "challenge-failed", Detail: "The token does not prove a solved challenge.", Cause: err})
}
