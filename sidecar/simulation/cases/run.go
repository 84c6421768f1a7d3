package cases

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/apikey"
	"github.com/posterndev/postern/sidecar/simulation"
)

// Failure is a step whose response is not the expected one.
type Failure struct {
	// Line is where the step begins. Step counts from 1, and Request counts its repetitions from 1.
	Line, Step, Request int
	// Differences are texts as "status: want 200, got 403".
	Differences []string
	// Decided is what decided.
	Decided simulation.Verdict
	// Missing are the files of the folder of Secrets that do not exist, as <name>/<key>, if a request was refused by 503.
	Missing []string
}

// Run runs a case, which begins at with.Start. It returns its first failure, or nil. An error means that the case cannot be run with
// this policy.
func Run(ctx context.Context, p *compiled.Policy, with simulation.Config, c *Case) (*Failure, error) {
	s, err := simulation.New(p, with)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	for i := range c.Steps {
		step := &c.Steps[i]
		if err := s.Advance(step.After); err != nil {
			return nil, err
		}
		for n := range step.Repeat {
			result, err := send(ctx, p, s, step)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", step.Line, err)
			}
			if d := step.Expect.compare(result); len(d) > 0 {
				f := &Failure{Line: step.Line, Step: i + 1, Request: n + 1, Differences: d, Decided: result.Verdict()}
				if f.Decided.Status == http.StatusServiceUnavailable {
					f.Missing = s.Missing()
				}
				return f, nil
			}
		}
	}
	return nil, ctx.Err()
}

func send(ctx context.Context, p *compiled.Policy, s *simulation.Simulation, step *Step) (*simulation.Result, error) {
	in := step.Request
	r := simulation.Request{
		Method: in.Method, Path: in.Path, Host: in.Host, Address: in.Address, Body: in.Body, Header: header(in.Headers), Plain: in.Plain,
		Certificate: (*simulation.ClientCertificate)(in.ClientCertificate),
		App:         simulation.AppResponse{Status: step.App.Status, Header: header(step.App.Headers), Body: step.App.Body},
	}
	if in.Token != nil {
		name, value, err := credential(ctx, p, s, in.Token, r)
		if err != nil {
			return nil, fmt.Errorf("request.token: %w", err)
		}
		r.Header.Add(name, value)
	}
	return s.Send(ctx, r)
}

func credential(ctx context.Context, p *compiled.Policy, s *simulation.Simulation, t *Token, r simulation.Request) (name, value string, err error) {
	if t.JWT == "" {
		return s.Credential(ctx, simulation.Claimed{Provider: t.Provider, Claims: t.Claims, Session: t.Session}, r)
	}
	if err := verifiable(p, t.JWT); err != nil {
		return "", "", err
	}
	return s.Existing(ctx, t.JWT, nil, r)
}

// verifiable returns an error if a case cannot verify a token that exists, because its keys are not in the policy. A case that expects a
// refusal would otherwise pass for the wrong reason. A token whose algorithm is not accepted is refused whatever the keys are.
func verifiable(p *compiled.Policy, token string) error {
	issuer := simulation.Issuer(p, token)
	if issuer == compiled.OwnProvider && p.Tokens != nil {
		return fmt.Errorf("the policy itself issues the token in jwt, so it cannot be verified here: write {provider: %s, claims: {sub: …}}", issuer)
	}
	for i := range p.Providers {
		if provider := &p.Providers[i]; provider.Name == issuer && len(provider.Keys.Inline) == 0 && slices.Contains(provider.Algorithms, simulation.Algorithm(token)) {
			return fmt.Errorf("the keys of the provider %q are not in the policy, and a case reads them from nowhere else: write claims in place of jwt, "+
				"or try the token with postern explain --token-file", issuer)
		}
	}
	return nil
}

func header(fields map[string]Values) http.Header {
	h := http.Header{}
	for name, values := range fields {
		h[http.CanonicalHeaderKey(name)] = values
	}
	return h
}

// compare returns the differences between what is expected and r.
func (e *Expect) compare(r *simulation.Result) (differences []string) {
	differ := func(name string, want, got any) {
		differences = append(differences, fmt.Sprintf("%s: want %v, got %v", name, want, got))
	}
	decided := r.Verdict()
	if r.Aborted {
		differ("response", "a whole response", "one that ends early")
	}
	if e.Status != 0 && e.Status != r.Status {
		differ("status", e.Status, r.Status)
	}
	for _, text := range []struct {
		name string
		want *string
		got  string
	}{{"rule", e.Rule, decided.Rule}, {"stage", e.Stage, decided.Stage}, {"code", e.Code, decided.Code}} {
		if text.want != nil && *text.want != text.got {
			differ(text.name, orNone(*text.want), orNone(text.got))
		}
	}
	if reached := r.App != nil; e.ReachesApp != nil && *e.ReachesApp != reached {
		differ("reachesApp", *e.ReachesApp, reached)
	}
	compareFields(differ, "headers", e.Headers, r.Header)
	if len(e.AppHeaders) > 0 && r.App == nil {
		differ("appHeaders", "a request that reaches the app", "none")
	} else if len(e.AppHeaders) > 0 {
		compareFields(differ, "appHeaders", e.AppHeaders, r.App.Header)
	}
	return differences
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func compareFields(differ func(string, any, any), what string, want map[string]*Values, got http.Header) {
	names := make([]string, 0, len(want))
	for name := range want {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		values, present := got[http.CanonicalHeaderKey(name)]
		text := func(values []string) string { return printable(name, strings.Join(values, ", ")) }
		switch w := want[name]; {
		case w == nil && present:
			differ(what+"."+name, "none", text(values))
		case w != nil && !present:
			differ(what+"."+name, text(*w), "none")
		case w != nil && strings.Join(*w, ", ") != strings.Join(values, ", "):
			differ(what+"."+name, text(*w), text(values))
		}
	}
}

// printable returns a value in quotes, or says that it is a credential, which does not belong into the log of a CI system.
func printable(name, value string) string {
	switch http.CanonicalHeaderKey(name) {
	case "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie":
		return "a value that is not printed"
	}
	if strings.Contains(value, apikey.Prefix) || strings.Contains(value, "eyJ") {
		return "a credential that is not printed"
	}
	return fmt.Sprintf("%q", value)
}
