package check

import (
	"errors"
	"fmt"
	"strings"

	"github.com/posterndev/postern/api/compiled"
)

// maxPathRoutes is the maximum number of routes with path options, and maxPathPrefix the maximum length of their prefixes, in bytes.
const (
	maxPathRoutes = 32
	maxPathPrefix = 512
)

// paths checks the path options. A route may only be more lenient than the policy: its prefix is compared to the path as it was
// sent, so that another spelling of the same path gets the options of the policy.
func (c *checker) paths(p *compiled.Paths) {
	if p == nil {
		return
	}
	const field = "spec.paths"
	c.pathOptions(field, &p.Options)
	if len(p.Routes) > maxPathRoutes {
		c.addf(field+".routes", "%d routes are more than %d; write shorter prefixes that cover several", len(p.Routes), maxPathRoutes)
		return
	}
	seen := map[string]bool{}
	for i := range p.Routes {
		r, at := &p.Routes[i], at(field+".routes", i)
		c.add(at+".prefix", PathOptionsPrefix(r.Prefix))
		if seen[r.Prefix] {
			c.addf(at+".prefix", "another route already has the prefix %.64q; write each prefix once", r.Prefix)
		}
		seen[r.Prefix] = true
		c.pathOptions(at, &r.Options)
		c.noStricter(at, &p.Options, &r.Options)
	}
}

func (c *checker) pathOptions(field string, o *compiled.PathOptions) {
	for name, value := range handlings(o) {
		c.add(field+"."+name, oneOf(value, compiled.PathReject, compiled.PathKeep))
	}
	c.add(field+".emptySegments", oneOf(o.EmptySegments, compiled.PathKeep, compiled.PathMerge, compiled.PathReject))
}

// noStricter refuses a route that is stricter than the policy.
func (c *checker) noStricter(field string, policy, route *compiled.PathOptions) {
	of := handlings(policy)
	for name, value := range handlings(route) {
		if value == compiled.PathReject && of[name] == compiled.PathKeep {
			c.addf(field+"."+name, "a route cannot refuse what spec.paths keeps, because another spelling of its prefix would pass; "+
				"write %s: Reject in spec.paths, and %[1]s: Keep for the routes that need it", name)
		}
	}
	strictness := map[compiled.PathHandling]int{compiled.PathKeep: 0, compiled.PathMerge: 1, compiled.PathReject: 2}
	if strictness[route.EmptySegments] > strictness[policy.EmptySegments] {
		c.addf(field+".emptySegments", "a route cannot be stricter than spec.paths, because another spelling of its prefix would pass; "+
			"write emptySegments: %s in spec.paths, and emptySegments: Keep for the routes that need it", route.EmptySegments)
	}
}

func handlings(o *compiled.PathOptions) map[string]compiled.PathHandling {
	return map[string]compiled.PathHandling{
		"encodedSlash": o.EncodedSlash, "semicolon": o.Semicolon, "backslash": o.Backslash, "doubleEncoding": o.DoubleEncoding,
	}
}

// PathOptionsPrefix refuses a prefix that is not a path of unencoded segments. Requests are compared to it before they are decoded.
func PathOptionsPrefix(prefix string) error {
	switch {
	case len(prefix) > maxPathPrefix:
		return fmt.Errorf("the prefix is longer than %d bytes; write a shorter one", maxPathPrefix)
	case !strings.HasPrefix(prefix, "/") || len(prefix) == 1 || strings.HasSuffix(prefix, "/"):
		return errors.New("the prefix must begin with / and not end with it; write for example /api/v4/projects, or set the option in spec.paths for every path")
	}
	for _, segment := range strings.Split(prefix[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return errors.New("the prefix has an empty or a dot segment; write it without, for example /api/v4/projects")
		}
	}
	const marks = "/-._~!$&'()+,=:@" // RFC 3986 §3.3, without the wildcard and the semicolon
	for _, c := range []byte(prefix) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') && strings.IndexByte(marks, c) < 0 {
			return errors.New("the prefix is compared to the path as it was sent, so it has only letters, digits and -._~!$&'()+,=:@ in its segments; shorten it to the part before the other character")
		}
	}
	return nil
}
