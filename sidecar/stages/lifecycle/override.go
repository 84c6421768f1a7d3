package lifecycle

import (
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// overrideFields are the fields of a request by which frameworks let a client replace the method, and overrideParameter is the parameter of the query or of a form.
var overrideFields = []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Methodoverride"}

const overrideParameter = "_method"

// overrides returns the methods, other than its own, that a framework could give the request. There are at most those that change something.
func overrides(r *http.Request) (methods []string) {
	add := func(named iter.Seq[string]) {
		for method := range named {
			switch method {
			case r.Method:
			case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
				if !slices.Contains(methods, method) {
					methods = append(methods, method)
				}
			}
		}
	}
	add(methodFields(r.Header))
	add(methodParameters(r.URL.RawQuery))
	return methods
}

// overridden returns next with observers for the methods that a framework could give the request.
func (s *stages) overridden(next stage.Handler, r *http.Request, info *request.Info) stage.Handler {
	named := overrides(r)
	for _, method := range named {
		next = observed(next, &observer{rules: s.matching(method, info), overridden: true})
	}
	if r.Method != http.MethodPost || !isForm(r.Header) {
		return next
	}
	var f *form
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete} {
		rules := s.matching(method, info)
		if len(rules) == 0 || slices.Contains(named, method) {
			continue
		}
		if f == nil {
			f = followForm(r)
		}
		next = observed(next, &observer{rules: rules, overridden: true, form: f, method: method})
	}
	return next
}

func isForm(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded")
}

// form is a body in which a method may be.
type form struct{ body }

// followForm replaces r's body by one that is copied.
func followForm(r *http.Request) *form {
	f := &form{body{ReadCloser: r.Body}}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = f
	}
	return f
}

// names reports whether the form gives the method. One that is too long to be kept may give it.
func (f *form) names(method string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.long {
		return true
	}
	for named := range methodParameters(string(f.kept)) {
		if named == method {
			return true
		}
	}
	return false
}
