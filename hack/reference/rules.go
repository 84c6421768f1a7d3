package main

import (
	"fmt"
	"strings"
)

// rules describes the rules of a field's value in words. For a list or a map it includes the rules of the members.
func rules(s *schema) []string {
	out := own(s)
	if s.Items != nil && s.Items.Schema != nil {
		for _, rule := range own(s.Items.Schema) {
			// The rules of an object are in the section with its fields.
			if len(s.Items.Schema.Properties) == 0 {
				out = append(out, "each: "+rule)
			}
		}
	}
	return out
}

// own describes the rules of the value itself.
func own(s *schema) []string {
	var out []string
	if len(s.Enum) > 0 {
		var values []string
		for _, v := range s.Enum {
			values = append(values, "`"+strings.Trim(string(v.Raw), `"`)+"`")
		}
		out = append(out, "one of "+strings.Join(values, ", "))
	}
	out = append(out, bounds(s.MinLength, s.MaxLength, "character", "characters")...)
	out = append(out, bounds(s.MinItems, s.MaxItems, "entry", "entries")...)
	out = append(out, bounds(s.MinProperties, s.MaxProperties, "entry", "entries")...)
	if s.Minimum != nil {
		out = append(out, fmt.Sprintf("at least %.0f", *s.Minimum))
	}
	if s.Maximum != nil {
		out = append(out, fmt.Sprintf("at most %.0f", *s.Maximum))
	}
	if s.Pattern != "" {
		out = append(out, "matches `"+s.Pattern+"`")
	}
	out = append(out, listRules(s)...)
	if len(s.Properties) > 0 {
		return out // the rules of an object are in its section
	}
	for _, rule := range s.XValidations {
		out = append(out, sentence(rule.Message))
	}
	return out
}

func listRules(s *schema) []string {
	switch {
	case s.XListType == nil:
		return nil
	case *s.XListType == "map":
		return []string{"no two entries have the same `" + strings.Join(s.XListMapKeys, "` and `") + "`"}
	case *s.XListType == "set":
		return []string{"entries are unique"}
	}
	return nil
}

func bounds(least, most *int64, one, many string) []string {
	var out []string
	if least != nil && *least > 0 {
		out = append(out, "at least "+plural(*least, one, many))
	}
	if most != nil {
		out = append(out, "at most "+plural(*most, one, many))
	}
	return out
}

func plural(n int64, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}
