package cors

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check"
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
		if err := check.CORSOrigin(s, len(c.AllowOrigins) == 1, c.AllowCredentials); err != nil {
			return fmt.Errorf("reading allowed origin %q: %w", s, err)
		}
		if s == "*" {
			p.any = true
			continue
		}
		origin, err := check.Origin(s)
		if err != nil {
			return fmt.Errorf("reading allowed origin %q: %w", s, err)
		}
		p.origins[origin] = struct{}{}
	}
	return nil
}

// checkLists refuses entries that no browser could ask for, and * where browsers take it for a name of its own.
func checkLists(c Config) error {
	for _, m := range c.AllowMethods {
		if err := check.CORSMethod(m, c.AllowCredentials); err != nil {
			return fmt.Errorf("reading allowed method %q: %w", m, err)
		}
	}
	for _, name := range slices.Concat(c.AllowHeaders, c.ExposeHeaders) {
		if err := check.CORSHeader(name, c.AllowCredentials); err != nil {
			return fmt.Errorf("reading header %q: %w", name, err)
		}
	}
	return nil
}
