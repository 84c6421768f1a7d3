package appapi

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// contract is openapi.json, for comparison with responses.
type contract struct {
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]shape }
	// met holds the properties of named schemas that occurred in responses, as "Schema.property".
	met map[string]bool
}

type operation struct {
	Responses map[string]struct {
		Content map[string]struct{ Schema shape }
	}
}

// shape is the part of JSON Schema that openapi.json uses for responses.
type shape struct {
	Ref                  string `json:"$ref"`
	Type                 string
	Const                any
	Format               string
	Properties           map[string]shape
	Required             []string
	AdditionalProperties *others
	Items                *shape
}

// others says whether an object may have members that are not among its properties. A schema of them says that it may.
type others bool

func (o *others) UnmarshalJSON(b []byte) error {
	*o = others(string(b) != "false")
	return nil
}

func readContract(t *testing.T) *contract {
	t.Helper()
	c := &contract{met: map[string]bool{}}
	if err := json.Unmarshal(openAPI, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// holds returns how v differs from the schema. where names the position in v.
func (c *contract) holds(s shape, v any, where string) (wrong []string) {
	name := ""
	if s.Ref != "" {
		name = strings.TrimPrefix(s.Ref, "#/components/schemas/")
		s = c.Components.Schemas[name]
	}
	if s.Const != nil && s.Const != v {
		return []string{fmt.Sprintf("%s is %v", where, v)}
	}
	if !isOf(s, v) {
		return []string{fmt.Sprintf("%s is %T; want the documented %s %s", where, v, s.Type, s.Format)}
	}
	if list, ok := v.([]any); ok && s.Items != nil {
		for i, item := range list {
			wrong = append(wrong, c.holds(*s.Items, item, fmt.Sprintf("%s[%d]", where, i))...)
		}
	}
	members, _ := v.(map[string]any)
	for member, value := range members {
		property, ok := s.Properties[member]
		if !ok {
			if s.AdditionalProperties != nil && !*s.AdditionalProperties {
				wrong = append(wrong, fmt.Sprintf("%s.%s is not documented", where, member))
			}
			continue
		}
		c.met[name+"."+member] = true
		wrong = append(wrong, c.holds(property, value, where+"."+member)...)
	}
	for _, member := range s.Required {
		if _, ok := members[member]; !ok {
			wrong = append(wrong, where+" has no "+member)
		}
	}
	return wrong
}

// isOf reports whether a value has the type of a schema.
func isOf(s shape, v any) bool {
	switch s.Type {
	case "object":
		_, ok := v.(map[string]any)
		return ok
	case "array":
		_, ok := v.([]any)
		return ok
	case "boolean":
		_, ok := v.(bool)
		return ok
	case "integer":
		n, ok := v.(float64)
		return ok && n == math.Trunc(n)
	case "string":
		text, ok := v.(string)
		if _, err := time.Parse(time.RFC3339, text); s.Format == "date-time" && err != nil {
			return false
		}
		return ok
	}
	return s.Type == "" && s.Const != nil
}

// unmet returns the documented properties that occurred in no response.
func (c *contract) unmet() (names []string) {
	for _, operations := range c.Paths {
		for _, o := range operations {
			for _, r := range o.Responses {
				for _, content := range r.Content {
					names = append(names, c.propertiesOf(content.Schema)...)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return c.met[name] })
}

func (c *contract) propertiesOf(s shape) (names []string) {
	name := strings.TrimPrefix(s.Ref, "#/components/schemas/")
	for property, schema := range c.Components.Schemas[name].Properties {
		names = append(names, name+"."+property)
		names = append(names, c.propertiesOf(schema)...)
		if schema.Items != nil {
			names = append(names, c.propertiesOf(*schema.Items)...)
		}
	}
	return names
}
