package main

import (
	"strconv"
	"strings"
)

// count returns n with its noun: "1 policy", "2 policies".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// counted is a number with its noun in singular and plural.
type counted struct {
	n         int
	one, many string
}

// enumerate lists the items that are not 0, as "1 policy, 2 classes and 3 revocations". It is empty if all are 0.
func enumerate(all ...counted) string {
	var parts []string
	for _, c := range all {
		if c.n > 0 {
			parts = append(parts, count(c.n, c.one, c.many))
		}
	}
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	last := len(parts) - 1
	return strings.Join(parts[:last], ", ") + " and " + parts[last]
}
