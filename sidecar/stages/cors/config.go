package cors

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/route"
)

// New compiles c. Its errors name the entry and say what to write instead; it refuses what browsers would ignore.
func New(c Config) (*Policy, error) {
	p := &Policy{origins: make(map[string]struct{}, len(c.AllowOrigins))}
	if err := p.addOrigins(c); err != nil {
		return nil, err
	}
	if err := checkLists(c); err != nil {
		return nil, err
	}
	if c.MaxAge < 0 {
		return nil, fmt.Errorf("reading maxAge %v: it is negative", c.MaxAge)
	}
	if c.AllowCredentials {
		p.always = append(p.always, headerField{"Access-Control-Allow-Credentials", []string{"true"}})
	}
	p.always = appendList(p.always, "Access-Control-Expose-Headers", c.ExposeHeaders)
	p.preflight = appendList(p.preflight, "Access-Control-Allow-Methods", c.AllowMethods)
	p.preflight = appendList(p.preflight, "Access-Control-Allow-Headers", c.AllowHeaders)
	if c.MaxAge > 0 {
		seconds := strconv.FormatInt(int64(c.MaxAge/time.Second), 10)
		p.preflight = append(p.preflight, headerField{"Access-Control-Max-Age", []string{seconds}})
	}
	return p, nil
}

func appendList(fields []headerField, name string, list []string) []headerField {
	if len(list) == 0 {
		return fields
	}
	return append(fields, headerField{name, []string{strings.Join(list, ", ")}})
}

func (p *Policy) addOrigins(c Config) error {
	if len(c.AllowOrigins) == 0 {
		return errors.New("reading allowOrigins: it is empty; name at least one origin, or leave cors out")
	}
	for _, s := range c.AllowOrigins {
		if s == "*" {
			if c.AllowCredentials || len(c.AllowOrigins) > 1 {
				return errors.New("reading allowOrigins: * stands alone, and without allowCredentials; list the origins")
			}
			p.any = true
			continue
		}
		origin, err := parseOrigin(s)
		if err != nil {
			return fmt.Errorf("reading allowed origin %q: %w", s, err)
		}
		p.origins[origin] = struct{}{}
	}
	return nil
}

// parseOrigin returns the origin as browsers serialise it: in small letters, without the scheme's own port.
func parseOrigin(s string) (string, error) {
	if s == "null" {
		return "", errors.New("every sandboxed frame and local file has it; it cannot be allowed")
	}
	if strings.Contains(s, "*") {
		return "", errors.New("wildcards within an origin are not supported; list the origins")
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Hostname() == "" {
		return "", errors.New("it is no origin; write scheme://host or scheme://host:port")
	}
	if s != u.Scheme+"://"+u.Host && !strings.EqualFold(s, u.Scheme+"://"+u.Host) {
		return "", errors.New("an origin has no path, query or user; leave out all after the host and port")
	}
	host := strings.ToLower(u.Host)
	if strings.ContainsFunc(host, notInHost) {
		return "", errors.New("the host is not one as browsers send it; write international names in their xn-- form")
	}
	if port := u.Port(); (u.Scheme == "https" && port == "443") || (u.Scheme == "http" && port == "80") {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return u.Scheme + "://" + strings.TrimSuffix(host, ":"), nil
}

func notInHost(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("-._:[]", r))
}

// checkLists refuses entries that no browser could ask for, and * where browsers take it for a name of its own.
func checkLists(c Config) error {
	for _, m := range c.AllowMethods {
		if m != "*" && (!route.ValidMethod(m) || slices.Contains([]string{"CONNECT", "TRACE", "TRACK"}, m)) {
			return fmt.Errorf("reading allowed method %q: write it in capital letters; CONNECT, TRACE and TRACK are closed to scripts", m)
		}
	}
	for _, name := range slices.Concat(c.AllowHeaders, c.ExposeHeaders) {
		if name != "*" && (!field.IsToken(name) || strings.Contains(name, "*")) {
			return fmt.Errorf("reading header %q: it is not a field name (RFC 9110 §5.1)", name)
		}
	}
	if c.AllowCredentials && slices.Contains(slices.Concat(c.AllowMethods, c.AllowHeaders, c.ExposeHeaders), "*") {
		return errors.New("reading methods and headers: with allowCredentials browsers take * literally (Fetch §3.3.5); list them")
	}
	return nil
}
