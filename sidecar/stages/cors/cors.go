// Package cors says which other origins' scripts may read the app's responses, by the Fetch standard's CORS protocol.
//
// Decorate is an outer stage: every response, refusals and errors among them, gets the CORS fields of the policy in place of
// the app's, and Vary: Origin whether or not the origin is allowed. Preflight stands before authentication, for browsers
// send preflights without credentials, and answers them:
//
//   - an allowed origin gets 204 with all that is allowed. Whether the method and the headers that it asks for are among
//     that is for the browser to see, which then names the missing one in its console; there is nothing to parse.
//   - any other origin gets 403 without CORS fields, as Fetch §3.3.3 encourages; the browser reports a CORS failure.
//   - OPTIONS that is no preflight (no Origin, or no Access-Control-Request-Method) goes on to the app.
//
// An actual request of an origin that is not allowed goes on as well: CORS keeps responses from scripts and is no
// protection against requests. Origins are compared byte by byte; "null", which sandboxed frames and files share, is never
// allowed by name. Private network access is not granted.
//
// Where the policy is in Shadow mode, origins that would be refused keep the app's own CORS fields.
package cors

import (
	"net/http"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Config is what other origins may do.
type Config struct {
	// AllowOrigins are origins as browsers send them (https://app.example.com), or * alone for all.
	AllowOrigins []string
	// AllowMethods and AllowHeaders are what preflights grant beyond what needs none (GET, HEAD, POST; Accept …). A *
	// stands for all, except Authorization, which Fetch wants named.
	AllowMethods, AllowHeaders []string
	// ExposeHeaders are what scripts may read beyond the basic ones (Content-Type …).
	ExposeHeaders []string
	// AllowCredentials lets cookies and Authorization be sent. Nothing can be * then.
	AllowCredentials bool
	// MaxAge is how long browsers remember a preflight, in whole seconds; 0 leaves it to them (5 s).
	MaxAge time.Duration
}

// Policy is a compiled Config. It is immutable.
type Policy struct {
	any     bool
	origins map[string]struct{}
	// always and preflight are fields with values for allowed origins: on each response, and on preflights as well.
	always, preflight []headerField
}

type headerField struct {
	name   string
	values []string
}

// Decorate returns the outer stage.
func (p *Policy) Decorate() stage.Stage {
	return response.Decorate(func(r *http.Request, status int, h http.Header) {
		if status == http.StatusSwitchingProtocols {
			return
		}
		field.AddVary(h, "Origin")
		preflight := isPreflight(r)
		if preflight {
			field.AddVary(h, "Access-Control-Request-Method", "Access-Control-Request-Headers")
		}
		p.grant(r, h, preflight)
	})
}

// grant replaces the app's CORS fields.
func (p *Policy) grant(r *http.Request, h http.Header, preflight bool) {
	origin, allowed := p.origin(r)
	if !allowed && request.From(r).Shadow {
		return
	}
	for _, name := range appFields {
		delete(h, name)
	}
	if !allowed {
		return
	}
	h["Access-Control-Allow-Origin"] = []string{origin}
	for _, f := range p.always {
		h[f.name] = f.values
	}
	if preflight {
		for _, f := range p.preflight {
			h[f.name] = f.values
		}
	}
}

// appFields are the response's fields of the CORS protocol and of private network access.
var appFields = [...]string{
	"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers", "Access-Control-Max-Age",
	"Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Allow-Private-Network",
	"Access-Control-Allow-Local-Network",
}

// origin returns the value of Access-Control-Allow-Origin for r, and whether there is one.
func (p *Policy) origin(r *http.Request) (string, bool) {
	origins := r.Header["Origin"]
	if len(origins) != 1 {
		return "", false
	}
	if p.any {
		return "*", true
	}
	_, ok := p.origins[origins[0]]
	return origins[0], ok
}

// Preflight returns the stage that answers preflights: 204, or the error cors-origin with 403.
func (p *Policy) Preflight() stage.Stage {
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			if !isPreflight(r) {
				return next.ServeHTTP(w, r)
			}
			if _, allowed := p.origin(r); allowed {
				w.WriteHeader(http.StatusNoContent) // Decorate adds the fields
				return nil
			}
			if err := request.From(r).Refuse(request.Rule{Stage: "cors"}, errOrigin()); err != nil {
				return err
			}
			return next.ServeHTTP(w, r)
		})
	}
}

func errOrigin() *httperr.Error {
	return &httperr.Error{Status: http.StatusForbidden, Code: "cors-origin", Detail: "Scripts of this origin may not use this service."}
}

// isPreflight reports whether r is a CORS-preflight request (Fetch §3.3.2).
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && len(r.Header["Origin"]) > 0 && r.Header.Get("Access-Control-Request-Method") != ""
}
