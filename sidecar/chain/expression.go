package chain

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/check/expression"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// newExpressions compiles the expression of each rule, or nil for none. A deleted policy has none.
func (b *builder) newExpressions() []*expression.Program {
	if b.policy.Deleted {
		return nil
	}
	programs := make([]*expression.Program, len(b.policy.Authorization.Rules))
	for i := range programs {
		text := b.policy.Authorization.Rules[i].Expression
		if text == "" {
			continue
		}
		var err error
		programs[i], err = expression.Compile(text)
		b.fail(err, "authorization.rules[%d].expression", i)
	}
	return programs
}

// condition returns the condition of a rule. Without a program, which is an error that was reported, it never holds.
func condition(program *expression.Program) func(*http.Request, *request.Info) (bool, error) {
	return func(r *http.Request, info *request.Info) (bool, error) {
		if program == nil {
			return false, expression.ErrValue
		}
		return evaluate(program, r, info)
	}
}

// evaluate reports whether the expression holds for every reading of the path.
func evaluate(program *expression.Program, r *http.Request, info *request.Info) (bool, error) {
	in, err := expressionInput(program, r, info)
	if err != nil {
		return false, err
	}
	target := info.Target()
	for i := range target.Readings() {
		in.Path = target.Reading(i)
		in.Segments = segments(in.Path)
		if holds, err := program.Eval(in); err != nil || !holds {
			return false, err
		}
	}
	return true, nil
}

// expressionInput returns the request as an expression sees it, except for its path.
func expressionInput(program *expression.Program, r *http.Request, info *request.Info) (*expression.Input, error) {
	in := &expression.Input{Method: r.Method, Headers: r.Header, Host: check.Host(r.Host), Address: info.ClientAddr, Time: info.Start}
	if info.Identity != nil {
		in.Claims = info.Identity.Claims
	}
	if program.ReadsQuery() {
		var err error
		if in.Query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			return nil, errors.New("parsing query: it is malformed") // the cause would show what the client sent
		}
	}
	return in, nil
}

// segments returns the segments of a path as patterns count them: one slash at the end is ignored, and empty segments count.
func segments(path string) []string {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}
