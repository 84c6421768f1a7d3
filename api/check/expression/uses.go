package expression

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
)

// Headers returns the headers that the expression looks up, in lower case, sorted. A client must not be able to remove them by naming
// them in Connection, or to send variants of their names that an app reads in their place.
func (p *Program) Headers() []string { return p.uses.headers }

// ReadsQuery reports whether the expression reads the query. A query that cannot be parsed must then refuse the request: an app may
// see parameters in it that the expression does not.
func (p *Program) ReadsQuery() bool { return p.uses.query }

// uses are the parts of a request that an expression reads.
type uses struct {
	headers []string
	query   bool
	// anonymous says that it may hold without claims.
	anonymous bool
}

// usesOf finds what the expression reads. It refuses headers that are not looked up by a name in lower case: "X-Debug" is in no map of
// lower-case names, so that a condition which forbids the header would always be met.
func usesOf(checked *cel.Ast) (uses, error) {
	f := &finder{ast: checked.NativeRep(), named: map[int64]bool{}}
	var every []ast.Expr
	ast.PreOrderVisit(f.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch {
		case isName(e, "request.query"):
			f.found.query = true
		case isName(e, "request.headers"):
			every = append(every, e)
		default:
			f.lookUp(e)
		}
	}))
	for _, e := range every {
		if !f.named[e.ID()] {
			f.mistake(e, `request.headers is not looked up by a name in quotes: write request.headers["x-tenant"], or "x-tenant" in request.headers`)
		}
	}
	if f.err != nil {
		return uses{}, f.err
	}
	slices.Sort(f.found.headers)
	f.found.headers = slices.Compact(f.found.headers)
	f.found.anonymous = anonymous(checked)
	return f.found, nil
}

type finder struct {
	ast   *ast.AST
	found uses
	// named are the ids of those uses of request.headers that look up one header.
	named map[int64]bool
	err   error
}

// lookUp records e if it looks up one header: as a field, by an index, or with in.
func (f *finder) lookUp(e ast.Expr) {
	switch e.Kind() {
	case ast.SelectKind:
		if operand := e.AsSelect().Operand(); isName(operand, "request.headers") {
			f.named[operand.ID()] = true
			f.header(operand, e.AsSelect().FieldName())
		}
	case ast.CallKind:
		args := e.AsCall().Args()
		if len(args) != 2 {
			return
		}
		headers, name := args[0], args[1]
		switch e.AsCall().FunctionName() {
		case operators.Index:
		case operators.In:
			headers, name = name, headers
		default:
			return
		}
		if text, ok := literal(name); ok && isName(headers, "request.headers") {
			f.named[headers.ID()] = true
			f.header(name, text)
		}
	}
}

// header records a header's name, which is at e.
func (f *finder) header(e ast.Expr, name string) {
	switch lower := strings.ToLower(name); {
	case !isHeader(lower):
		f.mistake(e, fmt.Sprintf("no header has this name, or apps read it as another: write letters, digits and hyphens, as in request.headers[%q]", "x-tenant"))
	case lower != name:
		f.mistake(e, fmt.Sprintf("names of headers are in lower case: write %q", lower))
	default:
		f.found.headers = append(f.found.headers, name)
	}
}

// mistake keeps the first mistake.
func (f *finder) mistake(e ast.Expr, message string) {
	if f.err == nil {
		at := f.ast.SourceInfo().GetStartLocation(e.ID())
		f.err = &Error{Line: at.Line(), Column: at.Column() + 1, Message: message}
	}
}

// isName reports whether e is a variable. A dot before its name says that it is not one of a macro.
func isName(e ast.Expr, name string) bool {
	return e.Kind() == ast.IdentKind && strings.TrimPrefix(e.AsIdent(), ".") == name
}

func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	text, ok := e.AsLiteral().(types.String)
	return string(text), ok
}

func isHeader(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return name != ""
}
