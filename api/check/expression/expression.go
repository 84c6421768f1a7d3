// Package expression compiles and evaluates the conditions of authorization rules that are written in CEL
// (https://github.com/google/cel-spec). The operator, postern lint and the sidecar compile an expression alike: what one of them refuses,
// all refuse. Compiling bounds the length, the nesting and the estimated cost of an expression, and evaluating bounds its real cost.
//
// Nothing of CEL is built before the first expression is compiled, because few policies have one.
package expression

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
)

// Bounds of an expression.
const (
	// MaxLength is the maximum length in bytes.
	MaxLength = 4 << 10
	// maxNesting bounds the nesting of calls and brackets, and that of macros such as exists in each other.
	maxNesting, maxMacros = 64, 2
	// maxNodes and maxLoops bound the parts of an expression, and the macros among them. Finding the types of an expression takes time and
	// memory that grow with their square: with loops alone, 4 KiB would take 0.3 s and 800 MB of the operator, which all namespaces share.
	maxNodes, maxLoops = 1000, 8
	// maxEstimate bounds the cost in the worst case, and maxCost the cost of one evaluation, in CEL's units. A unit takes some ten
	// nanoseconds.
	maxEstimate = 1_000_000_000
	maxCost     = 100_000
)

// Input is what an expression sees of a request. Expressions only read it.
type Input struct {
	Method, Path string
	// Segments are those of the path, as patterns count them.
	Segments []string
	Query    url.Values
	Headers  map[string][]string
	// Host is empty, and Address is not valid, if it is unknown. It then has no value.
	Host    string
	Address netip.Addr
	Time    time.Time
	// Claims are nil for a request without an identity. Numbers are json.Number.
	Claims map[string]any
}

// ErrCost reports an evaluation that was ended because it cost too much. ErrValue reports one that needed a value that is absent,
// ambiguous or of another type. Neither contains anything of the request.
var (
	ErrCost  = errors.New("evaluating expression: it costs too much for this request")
	ErrValue = errors.New("evaluating expression: a value that it needs is absent, is there twice, or has another type")
)

// Error is a mistake in an expression.
type Error struct {
	// Line and Column begin with 1. They are 0 if the mistake has no position. Columns count characters.
	Line, Column int
	Message      string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// Program is a compiled expression. It is safe for concurrent use.
type Program struct {
	program cel.Program
	uses    uses
}

// environment is built once, by the first Compile.
var environment = sync.OnceValues(newEnvironment)

func newEnvironment() (*cel.Env, error) {
	list := cel.ListType(cel.StringType)
	return cel.NewEnv(
		cel.CustomTypeAdapter(adapter{}),
		cel.ParserExpressionSizeLimit(MaxLength),
		cel.ParserRecursionLimit(maxNesting),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateComprehensionNestingLimit(maxMacros)),
		// Names with dots, so that each is typed and resolved by itself.
		cel.Variable("request.method", cel.StringType),
		cel.Variable("request.path", cel.StringType),
		cel.Variable("request.segments", list),
		cel.Variable("request.query", cel.MapType(cel.StringType, list)),
		cel.Variable("request.headers", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("request.host", cel.StringType),
		cel.Variable("request.address", cel.StringType),
		cel.Variable("request.time", cel.TimestampType),
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
	)
}

// Compile compiles an expression, whose result must be true or false. The error is an *Error.
func Compile(text string) (*Program, error) {
	if len(text) > MaxLength {
		return nil, &Error{Message: fmt.Sprintf("it has more than %d bytes", MaxLength)}
	}
	env, err := environment()
	if err != nil {
		return nil, &Error{Message: "CEL is not available: " + err.Error()}
	}
	parsed, issues := env.Parse(text)
	if issues.Err() != nil {
		return nil, mistake(issues)
	}
	if err := checkSize(parsed); err != nil {
		return nil, err
	}
	if err := checkLiterals(parsed); err != nil {
		return nil, err
	}
	checked, issues := env.Check(parsed)
	if issues.Err() != nil {
		return nil, mistake(issues)
	}
	if t := checked.OutputType(); t != cel.BoolType && t != cel.DynType { // the type of a claim is known at evaluation
		return nil, &Error{Message: fmt.Sprintf("its result is %s; it must be true or false, as in claims.tenant == \"acme\"", checked.OutputType())}
	}
	uses, err := usesOf(checked)
	if err != nil {
		return nil, err
	}
	estimate, err := env.EstimateCost(checked, sizes{})
	if err != nil {
		return nil, &Error{Message: "its cost cannot be estimated"}
	}
	if estimate.Max > maxEstimate {
		return nil, &Error{Message: "it may cost too much: use fewer macros inside each other, such as exists in all"}
	}
	program, err := env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostTracking(costs{}), cel.CostLimit(maxCost))
	if err != nil {
		return nil, &Error{Message: "it cannot be planned"}
	}
	return &Program{program: program, uses: uses}, nil
}

// checkSize refuses an expression with too many parts.
func checkSize(parsed *cel.Ast) error {
	nodes, loops := 0, 0
	ast.PreOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		nodes++
		if e.Kind() == ast.ComprehensionKind {
			loops++
		}
	}))
	switch {
	case nodes > maxNodes:
		return &Error{Message: fmt.Sprintf("it has %d parts, and at most %d are accepted: write a shorter expression, such as claims.tenant in [\"a\", \"b\"]", nodes, maxNodes)}
	case loops > maxLoops:
		return &Error{Message: fmt.Sprintf("it has %d macros such as exists and all, and at most %d are accepted: write a shorter expression", loops, maxLoops)}
	}
	return nil
}

// mistake returns the first mistake.
func mistake(issues *cel.Issues) *Error {
	first := issues.Errors()[0]
	e := &Error{Message: first.Message}
	if first.Location != nil && first.Location.Line() > 0 {
		e.Line, e.Column = first.Location.Line(), max(first.Location.Column()+1, 1)
	}
	return e
}

// Eval evaluates the expression. A request for which it fails does not meet the condition. Errors match ErrCost or ErrValue.
func (p *Program) Eval(in *Input) (bool, error) {
	result, details, err := p.program.Eval(activation{in})
	switch {
	case err == nil:
		met, ok := result.Value().(bool)
		if !ok {
			return false, ErrValue
		}
		return met, nil
	case details != nil && details.ActualCost() != nil && *details.ActualCost() > maxCost:
		return false, ErrCost
	}
	return false, ErrValue
}
