package overview

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/v1alpha1"
)

// Section is a section of a policy, such as jwt or rateLimits.
type Section struct {
	Name string `json:"name"`
	// Count is the number of its entries, for example of rate limits; 0 if the section is not a list.
	Count int `json:"count,omitempty"`
}

// String returns the section as jwt or rateLimits(2).
func (s Section) String() string {
	if s.Count == 0 {
		return s.Name
	}
	return fmt.Sprintf("%s(%d)", s.Name, s.Count)
}

// settings are the fields of a policy that are not sections: they say how it applies, not what it enforces.
var settings = []string{
	"selector", "sidecarClassName", "mode", "interception", "rollout", "ports", "undeclaredPorts", "upstreamProtocol", "paths", "vaultRole",
}

// sections returns the sections that the spec has, in the order of the API's fields, so that new ones need no line here.
func sections(spec *v1alpha1.SecurityPolicySpec) []Section {
	var out []Section
	value := reflect.ValueOf(spec).Elem()
	for i := range value.NumField() {
		name, _, _ := strings.Cut(value.Type().Field(i).Tag.Get("json"), ",")
		field := value.Field(i)
		if slices.Contains(settings, name) || field.IsZero() {
			continue
		}
		out = append(out, Section{name, entries(field)})
	}
	return out
}

// lists are the fields of sections whose entries are counted.
var lists = map[string]string{"JWT": "Providers", "Authorization": "Rules"}

// entries counts a list, or the list in a section that is there for its list.
func entries(field reflect.Value) int {
	if field.Kind() == reflect.Slice {
		return field.Len()
	}
	if field.Kind() != reflect.Pointer {
		return 0
	}
	if name, ok := lists[field.Type().Elem().Name()]; ok {
		return field.Elem().FieldByName(name).Len()
	}
	return 0
}
