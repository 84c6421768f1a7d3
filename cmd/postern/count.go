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

// counted is the number of something, and its nouns.
type counted struct {
	n         int
	one, many string
}

// enumerate lists what there is at least one of, as "1 policy, 2 classes and 3 revocations"; empty where there is nothing.
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
