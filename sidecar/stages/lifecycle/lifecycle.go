// Package lifecycle records what the app does to its resources, such as users: an event of the kind event.Lifecycle follows the app's
// response to a request on a route that creates, updates or deletes one.
//
// The stage must be next to the app, inside of every stage that changes the response, so that it sees what the app itself responded. It refuses
// nothing, changes nothing, waits for nothing, and is the same in Shadow mode. Its memory is bounded for each request: by MaxBody for the
// request's body, and by as much for the response's body if that is encoded. A request that no rule matches costs nothing more.
//
// An event says that the app responded with a wanted status. That is before the client has the response, which may still be cut
// short. A refusal, a response of the sidecar itself and an upgraded connection have no event. If the app may have got the request, and its
// response is not known, the event says ResultUnknown: a client could otherwise hide what it does by closing its connection.
package lifecycle

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Bounds of a rule and of a request.
const (
	// MaxBody is how much of a request's body is read, in bytes.
	MaxBody   = 64 << 10
	maxFields = 32
	maxDepth  = 16
	maxValues = 1000
)

// ChangesUnknown is the reason in an event whose rule names fields, and whose request had a body that could not be read: it is too long, encoded, or not
// one JSON object.
const ChangesUnknown = "changes-unknown"

// ResultUnknown is the reason of an event with the outcome Failed: the request was sent to the app, and it is not known whether the app has done it.
const ResultUnknown = "result-unknown"

// MethodOverride is the reason of an event with the outcome Failed: the request names another method in a field or a parameter by which some frameworks
// replace its method, and the rule is for that method. Whether the app has done it is not known.
const MethodOverride = "method-override"

// Config is the list of rules. The first one that matches a request and the status of its response applies.
type Config struct{ Rules []Rule }

// Rule is what the app does on some routes.
type Rule struct {
	Resource string
	Action   event.Action
	// Match selects requests. OPTIONS and TRACE change nothing (RFC 9110 §9.2.1) and are never recorded, and neither are GET and HEAD, unless a match
	// names GET: most apps handle both alike.
	Match []route.Match
	// ID is where the id of the resource is; the zero ID is nowhere.
	ID ID
	// Changes are paths of members in the request's JSON, and Redact those of them whose values are withheld.
	Changes, Redact []string
	// Statuses are the recorded ones; empty for 2xx.
	Statuses []int
}

// ID is where the id of a resource is: at most one place. In JSON it is a string or a number.
type ID struct {
	ResponseJSON, RequestJSON, ResponseHeader string
	// Segment is the number of a segment of the path, from 0.
	Segment *int
}

// rule is a Rule that is compiled.
type rule struct {
	Rule
	match *route.Matcher
	// named has the matches that name methods; nil for none.
	named                     *route.Matcher
	responseJSON, requestJSON []string
	fields                    []field
}

// field is a recorded member of the request's JSON.
type field struct {
	name   string
	path   []string
	redact bool
}

// New returns the stage; nil without rules. Errors name the rule by its index.
func New(c Config) (stage.Stage, error) {
	if len(c.Rules) == 0 {
		return nil, nil
	}
	s := &stages{}
	for i := range c.Rules {
		r, err := compile(&c.Rules[i])
		if err != nil {
			return nil, fmt.Errorf("building lifecycle rule %d: %w", i, err)
		}
		s.rules = append(s.rules, r)
	}
	return s.around, nil
}

func compile(in *Rule) (*rule, error) {
	r := &rule{Rule: *in}
	var err error
	if r.match, err = route.NewMatcher(in.Match); err != nil {
		return nil, err
	}
	named := slices.DeleteFunc(slices.Clone(in.Match), func(m route.Match) bool { return len(m.Methods) == 0 })
	if len(named) > 0 {
		if r.named, err = route.NewMatcher(named); err != nil {
			return nil, err
		}
	}
	if len(in.Match) == 0 || in.Resource == "" || in.Action == "" || len(in.Changes) > maxFields {
		return nil, fmt.Errorf("resource, action and match are required, and at most %d changes", maxFields)
	}
	for _, place := range []struct {
		path string
		into *[]string
	}{{in.ID.ResponseJSON, &r.responseJSON}, {in.ID.RequestJSON, &r.requestJSON}} {
		if place.path != "" {
			if err := check.JSONPath(place.path); err != nil {
				return nil, err
			}
			*place.into = strings.Split(place.path, ".")
		}
	}
	for _, name := range in.Changes {
		if err := check.JSONPath(name); err != nil {
			return nil, err
		}
		r.fields = append(r.fields, field{name: name, path: strings.Split(name, "."), redact: slices.Contains(in.Redact, name)})
	}
	for _, name := range in.Redact {
		if !slices.Contains(in.Changes, name) {
			return nil, errors.New("redact has a field that changes does not have")
		}
	}
	return r, nil
}

// wants reports whether the rule records a status.
func (r *rule) wants(status int) bool {
	if len(r.Statuses) == 0 {
		return status >= 200 && status <= 299
	}
	return slices.Contains(r.Statuses, status)
}

type stages struct{ rules []*rule }

// matching returns the rules that match the request with the method, in their order. Of a path that apps read in several ways one reading is enough: what
// is recorded too often does less harm than what is not.
func (s *stages) matching(method string, info *request.Info) []*rule {
	switch method {
	case http.MethodOptions, http.MethodTrace:
		return nil
	}
	var out []*rule
	target := info.Target()
	for _, rule := range s.rules {
		m := rule.match
		if method == http.MethodGet || method == http.MethodHead {
			m = rule.named
		}
		if m != nil && m.MatchAny(method, &target) {
			out = append(out, rule)
		}
	}
	return out
}

func (s *stages) around(next stage.Handler) stage.Handler {
	return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		info := request.From(r)
		if !info.Events.Wants(event.Lifecycle) {
			return next.ServeHTTP(w, r)
		}
		return observed(s.overridden(next, r, info), &observer{rules: s.matching(r.Method, info)}).ServeHTTP(w, r)
	})
}

// observed observes by o how next responds, if o has rules.
func observed(next stage.Handler, o *observer) stage.Handler {
	if len(o.rules) == 0 {
		return next
	}
	return stage.Func(func(w http.ResponseWriter, r *http.Request) (err error) {
		o.Writer, o.request, o.info = response.Writer{ResponseWriter: w}, r, request.From(r)
		if slices.ContainsFunc(o.rules, func(r *rule) bool { return len(r.fields) > 0 || r.requestJSON != nil }) {
			o.body = follow(r)
		}
		defer func() { o.end(err) }() // also if the proxy panics, because the app's response broke off
		return response.Intercept(o, r, next, o.decide)
	})
}
