package identity

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Members are members that a claim must have. The members of a claim are the elements of an array, or the words of a string, which
// spaces separate (RFC 6749 §3.3, RFC 8693 §4.2: scope).
type Members struct {
	// All are required, all of them. One of Any is required, unless Any is empty.
	All, Any []string
}

// MetBy reports whether the claim's value has the members. A value that is absent or an object has none.
func (m Members) MetBy(v any) bool {
	members := membersOf(v)
	if len(members) == 0 {
		return false
	}
	has := func(member string) bool { return slices.Contains(members, member) }
	for _, member := range m.All {
		if !has(member) {
			return false
		}
	}
	return len(m.Any) == 0 || slices.ContainsFunc(m.Any, has)
}

// membersOf returns the members of a value. An element of an array is one member, also if it has spaces.
func membersOf(v any) []string {
	if list, ok := v.([]any); ok {
		var members []string
		for _, element := range list {
			if text, ok := Scalar(element); ok {
				members = append(members, text)
			}
		}
		return members
	}
	text, ok := Scalar(v)
	if !ok {
		return nil
	}
	return slices.DeleteFunc(strings.Split(text, " "), func(word string) bool { return word == "" })
}

// Scalar returns a string as it is, and a number or boolean as JSON writes it.
func Scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}
