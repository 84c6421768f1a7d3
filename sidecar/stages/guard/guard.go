// Package guard is the first stage. It refuses requests that two parsers could read as different requests, and
// normalizes all others. It protects the protocol and is no rule of the policy, so shadow mode does not change it.
//
// It refuses an invalid target, method or field with 400, and the methods CONNECT and TRACE with 405. After this
// stage, Info.Target is the decoded path that rules match, and r.URL encodes to the same path. r.URL is in origin form.
//
// net/http has already handled several Host fields in HTTP/1.1, a Host field with an absolute-form target (the target wins,
// RFC 9112 §3.2.2), control characters in fields, and invalid framing.
package guard

import (
	"net/http"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Config configures the stage.
type Config struct {
	// Paths says which paths pass; nil for those without ambiguous characters.
	Paths *route.Reader
}

// New returns the stage.
func New(c Config) stage.Stage {
	if c.Paths == nil {
		c.Paths = &route.Reader{}
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			info := request.From(r)
			if refused := request.Refused(r); refused != nil {
				info.Decide(request.Decision{Stage: refused.Stage, Rule: string(refused.Err.Code), Err: refused.Err})
				return refused.Err
			}
			if err := judge(r, info, c.Paths); err != nil {
				info.Decide(request.Decision{Stage: "guard", Rule: string(err.Code), Err: err})
				return err
			}
			return next.ServeHTTP(w, r)
		})
	}
}

func judge(r *http.Request, info *request.Info, paths *route.Reader) *httperr.Error {
	if err := checkMethod(r.Method); err != nil {
		return err
	}
	if err := checkFields(r); err != nil {
		return err
	}
	return checkTarget(r, info, paths)
}

func checkMethod(method string) *httperr.Error {
	switch {
	case method == http.MethodConnect || method == http.MethodTrace:
		// CONNECT would open a tunnel that no rule inspects; TRACE echoes credentials.
		return httperr.MethodNotAllowed()
	case !check.IsMethod(method):
		return refuse("bad-method", "The method is malformed.", nil)
	}
	return nil
}

// refuse returns a 400 error. detail never contains input.
func refuse(code httperr.Code, detail string, cause error) *httperr.Error {
	return &httperr.Error{Status: http.StatusBadRequest, Code: code, Detail: detail, Cause: cause}
}
