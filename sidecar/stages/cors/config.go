package cors

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check"
)

// New compiles c. It refuses what check.CORS refuses, which includes all that browsers would ignore.
func New(c Config) (*Policy, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("building CORS: %w", err)
	}
	p := &Policy{origins: make(map[string][]string, len(c.AllowOrigins))}
	if err := p.addOrigins(c.AllowOrigins); err != nil {
		return nil, fmt.Errorf("building CORS: %w", err)
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

func (c Config) validate() error {
	return check.Error(check.CORS(&check.CORSSection{
		AllowOrigins: c.AllowOrigins, AllowMethods: c.AllowMethods, AllowHeaders: c.AllowHeaders, ExposeHeaders: c.ExposeHeaders,
		AllowCredentials: c.AllowCredentials, MaxAge: check.Duration(c.MaxAge),
	}))
}

func (p *Policy) addOrigins(origins []string) error {
	for _, s := range origins {
		if s == "*" {
			p.any = []string{"*"}
			continue
		}
		pattern, err := check.ParseOriginPattern(s)
		if err != nil {
			return fmt.Errorf("reading allowed origin %q: %w", s, err)
		}
		if pattern.AnyLabel || pattern.AnyPort {
			p.patterns = append(p.patterns, pattern)
		} else {
			p.origins[pattern.Origin] = []string{pattern.Origin}
		}
	}
	return nil
}
