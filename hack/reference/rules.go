package main

import (
	"fmt"
	"strings"
)

// rules lists what a field's value must be like, in words; of a list or a map, also what its members must be like.
func rules(s *schema) []string {
	out := own(s)
	if s.Items != nil && s.Items.Schema != nil {
		for _, rule := range own(s.Items.Schema) {
			// Rules of an object are told where its fields are.
			if len(s.Items.Schema.Properties) == 0 {
				out = append(out, "each: "+rule)
			}
		}
	}
	return out
}

// own lists the rules of the value alone.
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
		return out // an object's own rules stand in its section
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
		return []string{"no entry twice"}
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
