package lifecycle

import (
	"net/http"
	"slices"
	"strings"
)

// overrideFields are the fields of a request by which frameworks let a client replace the method, and overrideParameter is the parameter of the query.
var overrideFields = []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Methodoverride"}

const overrideParameter = "_method"

// overrides returns the methods, other than its own, that a framework could give the request. There are at most those that change something.
func overrides(r *http.Request) (methods []string) {
	add := func(method string) {
		method = strings.ToUpper(strings.TrimSpace(method))
		switch method {
		case r.Method:
		case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
			if !slices.Contains(methods, method) {
				methods = append(methods, method)
			}
		}
	}
	for _, name := range overrideFields {
		for _, method := range r.Header[name] {
			add(method)
		}
	}
	if r.URL.RawQuery != "" {
		for _, method := range r.URL.Query()[overrideParameter] {
			add(method)
		}
	}
	return methods
}
