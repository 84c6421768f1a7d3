package expression

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/overloads"
)

// maxPattern bounds the states of a regular expression. Repetitions count as often as they repeat: without a bound, ((a|b)?…){1000} takes
// 800 MB to compile, and seconds for each request, of which CEL's cost, by the length of the text, knows nothing.
const maxPattern = 1000

// zone is a time zone that is not looked up in a file, which sidecars may not have, and which would be read for each request.
var zone = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(UTC|[+-]?[0-9]{2}:[0-9]{2})$`) })

// zoned are the functions that take a time zone.
var zoned = map[string]bool{
	overloads.TimeGetFullYear: true, overloads.TimeGetMonth: true, overloads.TimeGetDayOfYear: true, overloads.TimeGetDayOfMonth: true,
	overloads.TimeGetDate: true, overloads.TimeGetDayOfWeek: true, overloads.TimeGetHours: true, overloads.TimeGetMinutes: true,
	overloads.TimeGetSeconds: true, overloads.TimeGetMilliseconds: true,
}

// checkLiterals refuses regular expressions and time zones that are not literals, because they would be compiled or loaded for each request,
// from what a client sends, and those literals that cost too much. It runs before the type check, which compiles regular expressions.
func checkLiterals(parsed *cel.Ast) error {
	native := parsed.NativeRep()
	var found *Error
	ast.PreOrderVisit(native.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || found != nil {
			return
		}
		call := e.AsCall()
		args := call.Args()
		if len(args) == 0 {
			return
		}
		last, message := args[len(args)-1], ""
		switch {
		case call.FunctionName() == overloads.Matches:
			message = wrongPattern(last)
		case zoned[call.FunctionName()] && call.IsMemberFunction():
			message = wrongZone(last)
		}
		if message != "" {
			at := native.SourceInfo().GetStartLocation(last.ID())
			found = &Error{Line: at.Line(), Column: at.Column() + 1, Message: message}
		}
	}))
	if found != nil {
		return found
	}
	return nil
}

func wrongPattern(e ast.Expr) string {
	text, ok := literal(e)
	if !ok {
		return "the pattern of matches is not a text: write it in quotes, as in request.path.matches(\"^/a/[0-9]+$\")"
	}
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return "" // the type check reports it
	}
	if n := states(re); n > maxPattern {
		return fmt.Sprintf("the pattern of matches has more than %d states: write fewer and smaller repetitions, such as [0-9]+ for [0-9]{1,1000}", maxPattern)
	}
	return ""
}

func wrongZone(e ast.Expr) string {
	if text, ok := literal(e); !ok || !zone().MatchString(text) {
		return "the time zone is neither \"UTC\" nor a difference in quotes: write it as in request.time.getHours(\"+01:00\")"
	}
	return ""
}

// states estimates the size of a compiled regular expression, and stops beyond maxPattern.
func states(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCharClass:
		n += len(re.Rune) / 32
	}
	for _, sub := range re.Sub {
		if n += states(sub); n > maxPattern {
			return maxPattern + 1
		}
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min+1, re.Max, 1)
	}
	return min(n, maxPattern+1)
}
