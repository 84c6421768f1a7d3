package main

import (
	"cmp"
	"math"
	"slices"
)

// quantile returns the smallest value that is not exceeded by a share of q of the values (nearest rank). It returns 0 for no
// values.
func quantile[T cmp.Ordered](values []T, q float64) (none T) {
	if len(values) == 0 {
		return none
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func median[T cmp.Ordered](values []T) T { return quantile(values, 0.5) }
