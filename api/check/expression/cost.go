package expression

import (
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// costs are the costs of comparisons. CEL takes the length of a list for its cost, although lists inside of it are compared too: a token with
// nested lists would cost seconds within the limit.
type costs struct{}

// CallCost implements interpreter.ActualCostEstimator.
func (costs) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	if len(args) != 2 {
		return nil
	}
	var n int
	switch function {
	case operators.Equals, operators.NotEquals:
		if !isContainer(args[0]) || !isContainer(args[1]) {
			return nil // they differ without a look inside, or have no inside
		}
		n = lighter(args[0], args[1])
	case operators.In, operators.OldIn:
		if _, ok := args[1].(traits.Lister); !ok {
			return nil
		}
		n = weigh(args[1], maxCost)
	default:
		return nil
	}
	cost := uint64(n)
	return &cost
}

func isContainer(v ref.Val) bool {
	_, ok := v.(traits.Container)
	return ok
}

// lighter returns the weight of the lighter value, in time that grows with it: values are compared until they differ.
func lighter(a, b ref.Val) int {
	for budget := 16; ; budget *= 4 {
		if n := min(weigh(a, budget), weigh(b, budget)); n < budget || budget > maxCost {
			return n
		}
	}
}

// weigh returns the number of values in a value, itself included, or the budget if there are more. Ten bytes of text count as one.
func weigh(value any, budget int) int {
	s := &scale{budget: budget}
	s.add(value)
	return min(s.weight, budget)
}

type scale struct{ weight, budget int }

// add adds a value, and reports whether the budget allows another.
func (s *scale) add(value any) bool {
	s.weight++
	switch v := value.(type) {
	case string:
		s.weight += len(v) / 10
	case []byte:
		s.weight += len(v) / 10
	case []string:
		addAll(s, v)
	case []any:
		addAll(s, v)
	case map[string]any:
		addMap(s, v)
	case map[string][]string:
		addMap(s, v)
	case map[ref.Val]ref.Val:
		addMap(s, v)
	case traits.Lister: // its Value may be a copy
		for i, n := types.Int(0), v.Size(); s.weight < s.budget && n.Equal(i) == types.False; i++ {
			s.add(v.Get(i))
		}
	case *types.Err:
	case ref.Val:
		s.weight-- // the same value
		s.add(v.Value())
	}
	return s.weight < s.budget
}

func addAll[T any](s *scale, values []T) {
	for _, v := range values {
		if !s.add(v) {
			return
		}
	}
}

func addMap[K comparable, T any](s *scale, values map[K]T) {
	for _, v := range values {
		if !s.add(v) {
			return
		}
	}
}
