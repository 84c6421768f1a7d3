package expression

import (
	"slices"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
)

// Anonymous reports whether the expression may hold for a request without claims. If it returns false, the expression holds for no such
// request. It does not look at values, so it may return true for an expression that never holds.
func (p *Program) Anonymous() bool { return p.uses.anonymous }

// mayBe are the results that an expression may have without claims: none of them if it always fails.
type mayBe struct{ yes, no bool }

func anonymous(checked *cel.Ast) bool { return withoutClaims(checked.NativeRep().Expr()).yes }

// withoutClaims returns the results that e may have if there are no claims.
func withoutClaims(e ast.Expr) mayBe {
	if asksForClaim(e) {
		return mayBe{no: true}
	}
	if e.Kind() == ast.CallKind {
		if result, ok := logic(e.AsCall()); ok {
			return result
		}
	}
	if needsClaim(e) {
		return mayBe{}
	}
	return mayBe{true, true}
}

// logic returns the results of an operator that may have one although an operand fails, and whether call is one.
func logic(call ast.CallExpr) (mayBe, bool) {
	var of []mayBe
	switch call.FunctionName() {
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Conditional:
		for _, arg := range call.Args() {
			of = append(of, withoutClaims(arg))
		}
	default:
		return mayBe{}, false
	}
	switch call.FunctionName() {
	case operators.LogicalAnd:
		return mayBe{yes: of[0].yes && of[1].yes, no: of[0].no || of[1].no}, true
	case operators.LogicalOr:
		return mayBe{yes: of[0].yes || of[1].yes, no: of[0].no && of[1].no}, true
	case operators.LogicalNot:
		return mayBe{yes: of[0].no, no: of[0].yes}, true
	}
	return mayBe{yes: of[0].yes && of[1].yes || of[0].no && of[2].yes, no: of[0].yes && of[1].no || of[0].no && of[2].no}, true
}

// asksForClaim reports whether e is has(claims.name) or "name" in claims.
func asksForClaim(e ast.Expr) bool {
	switch e.Kind() {
	case ast.SelectKind:
		return e.AsSelect().IsTestOnly() && isName(e.AsSelect().Operand(), "claims")
	case ast.CallKind:
		args := e.AsCall().Args()
		return e.AsCall().FunctionName() == operators.In && isName(args[1], "claims")
	}
	return false
}

// needsClaim reports whether e fails without claims. Of a loop, only what it loops over is known to be evaluated.
func needsClaim(e ast.Expr) bool {
	switch e.Kind() {
	case ast.SelectKind:
		s := e.AsSelect()
		return isName(s.Operand(), "claims") && !s.IsTestOnly() || needsClaim(s.Operand())
	case ast.CallKind:
		call := e.AsCall()
		if _, ok := logic(call); ok {
			return withoutClaims(e) == mayBe{}
		}
		args := call.Args()
		if call.FunctionName() == operators.Index && isName(args[0], "claims") {
			return true
		}
		return call.IsMemberFunction() && needsClaim(call.Target()) || slices.ContainsFunc(args, needsClaim)
	case ast.ListKind:
		return slices.ContainsFunc(e.AsList().Elements(), needsClaim)
	case ast.ComprehensionKind:
		return needsClaim(e.AsComprehension().IterRange())
	}
	return false
}
