package cases

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// check reports the first case that cannot be run, and completes the addresses.
func (f *File) check() error {
	if len(f.Cases) == 0 || len(f.Cases) > MaxCases {
		return fmt.Errorf("the file has %d cases; write 1 to %d", len(f.Cases), MaxCases)
	}
	for i := range f.Cases {
		c := &f.Cases[i]
		if err := c.check(); err != nil {
			return fmt.Errorf("line %d: case %q: %w", c.Line, c.Name, err)
		}
	}
	return nil
}

func (c *Case) check() error {
	switch {
	case c.Name == "":
		return errors.New("it has no name")
	case c.Request != nil && len(c.Steps) > 0:
		return errors.New("it has a request and steps: write one of them")
	case c.Request == nil && len(c.Steps) == 0:
		return errors.New("it has no request")
	}
	if c.Request != nil {
		c.Steps = []Step{c.Step}
	}
	total := 0
	for i := range c.Steps {
		s := &c.Steps[i]
		if err := s.check(); err != nil {
			return fmt.Errorf("step %d, line %d: %w", i+1, s.Line, err)
		}
		if total += s.Repeat; total > MaxRequests {
			return fmt.Errorf("it has more than %d requests", MaxRequests)
		}
	}
	return nil
}

func (s *Step) check() error {
	if s.Repeat == 0 {
		s.Repeat = 1
	}
	switch {
	case s.Request == nil:
		return errors.New("it has no request")
	case !strings.HasPrefix(s.Request.Path, "/"):
		return fmt.Errorf("request.path %q does not start with /", s.Request.Path)
	case s.Repeat < 0 || s.Repeat > MaxRequests:
		return fmt.Errorf("repeat is %d; write 1 to %d", s.Repeat, MaxRequests)
	case s.After < 0:
		return errors.New("after is negative: the clock cannot go back")
	case s.App.Status != 0 && (s.App.Status < 200 || s.App.Status > 599):
		return fmt.Errorf("app.status %d is no final status: write 200 to 599", s.App.Status)
	case s.Expect.empty():
		return errors.New("it expects nothing, so it cannot fail: write expect, as {status: 200}")
	}
	if t := s.Request.Token; t != nil && t.JWT != "" && (t.Provider != "" || t.Claims != nil || t.Session != "") {
		return errors.New("request.token has jwt beside provider, claims or session: a token that exists has its own")
	}
	if s.Request.AddressText == "" {
		return nil
	}
	var err error
	if s.Request.Address, err = netip.ParseAddr(s.Request.AddressText); err != nil || s.Request.Address.Zone() != "" {
		return fmt.Errorf("request.address %q is not an address like 203.0.113.7", s.Request.AddressText)
	}
	return nil
}

func (e *Expect) empty() bool {
	return e.Status == 0 && e.Rule == nil && e.Stage == nil && e.Code == nil && len(e.Headers) == 0 && len(e.AppHeaders) == 0 && e.ReachesApp == nil
}
