package check

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// maxRedirect is the maximum length of a redirect's target, in bytes.
const maxRedirect = 512

// RedirectPath refuses the target of a redirect that a browser, or a proxy that rewrites Location, could take for another host. It is a
// path that begins with one slash, with or without a query and a fragment. Browsers read a backslash as a slash, and skip tabs and line
// ends (WHATWG URL, section 4.4).
func RedirectPath(target string) error {
	if len(target) > maxRedirect {
		return fmt.Errorf("it is longer than %d bytes; write a shorter path", maxRedirect)
	}
	if !strings.HasPrefix(target, "/") {
		return errors.New("it is not a path of the same host; write / and the page, for example /login")
	}
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c > '~' || strings.IndexByte("\\\"<>^`{|}", c) >= 0 {
			return fmt.Errorf("it contains %q, which no URL contains; write it percent-encoded", target[i:i+1])
		}
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		return errors.New("it is not a path of the same host; write / and the page, for example /login")
	}
	for i, segment := range strings.Split(u.Path, "/")[1:] {
		if segment == "." || segment == ".." || segment == "" && i < strings.Count(u.Path, "/")-1 || strings.ContainsAny(segment, "\\") {
			return fmt.Errorf("its path has the segment %q; write the path without it, for example /login", segment)
		}
	}
	return nil
}
