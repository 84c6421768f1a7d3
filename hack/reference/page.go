package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

type schema = apiextensionsv1.JSONSchemaProps

// page builds the Markdown text.
type page struct{ strings.Builder }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// paragraph writes an empty line and text, without escaping.
func (p *page) paragraph(text string) { p.line("\n%s", text) }

// kind describes all versions of one kind.
func (p *page) kind(definition *apiextensionsv1.CustomResourceDefinition) {
	names := definition.Spec.Names
	p.paragraph("## " + names.Kind)
	for i := range definition.Spec.Versions {
		v := &definition.Spec.Versions[i]
		root := v.Schema.OpenAPIV3Schema
		p.paragraph(prose(root.Description))
		scope := "namespaced"
		if definition.Spec.Scope == apiextensionsv1.ClusterScoped {
			scope = "cluster-scoped"
		}
		p.paragraph(fmt.Sprintf("`apiVersion: %s/%s`, `kind: %s`. It is %s: `kubectl get %s`, short name `%s`.",
			definition.Spec.Group, v.Name, names.Kind, scope, names.Plural, strings.Join(names.ShortNames, "`, `")))
		for _, part := range []string{"spec", "status"} {
			if s, ok := root.Properties[part]; ok {
				p.object(names.Kind, part, &s)
			}
		}
	}
}

// object describes the fields of the object at path, and then each object below it.
func (p *page) object(kind, path string, s *schema) {
	p.paragraph("### " + kind + " " + path)
	if s.Description != "" {
		p.paragraph(prose(s.Description))
	}
	for _, rule := range s.XValidations {
		p.paragraph("Rule: " + sentence(rule.Message))
	}
	p.line("")
	names := slices.Sorted(maps.Keys(s.Properties))
	for _, name := range names {
		field := s.Properties[name]
		p.field(name, &field, slices.Contains(s.Required, name))
	}
	for _, name := range names {
		field := s.Properties[name]
		if below, suffix := nested(&field); below != nil {
			p.object(kind, path+"."+name+suffix, below)
		}
	}
}

func (p *page) field(name string, s *schema, required bool) {
	facts := typeOf(s)
	if required {
		facts += ", required"
	}
	if s.Default != nil {
		facts += ", default `" + string(s.Default.Raw) + "`"
	}
	text := fmt.Sprintf("- **`%s`** (%s)", name, facts)
	if s.Description != "" {
		text += ": " + prose(s.Description)
	}
	p.line("%s", text)
	for _, rule := range rules(s) {
		p.line("  - %s", rule)
	}
}

// nested returns the schema of the object in a field's value, if it has fields, and the suffix of its path.
func nested(s *schema) (below *schema, suffix string) {
	switch {
	case len(s.Properties) > 0:
		return s, ""
	case s.Items != nil && s.Items.Schema != nil:
		below, suffix = nested(s.Items.Schema)
		return below, "[]" + suffix
	case s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil:
		below, suffix = nested(s.AdditionalProperties.Schema)
		return below, ".*" + suffix
	}
	return nil, ""
}

// typeOf returns a value's type in words.
func typeOf(s *schema) string {
	switch {
	case s.XIntOrString:
		return "integer or string"
	case s.Items != nil && s.Items.Schema != nil:
		return "list of " + typeOf(s.Items.Schema)
	case s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil:
		return "map to " + typeOf(s.AdditionalProperties.Schema)
	case s.Format != "" && s.Type == "string":
		return "string, " + s.Format
	}
	return s.Type
}

// prose joins the lines of a description, and keeps its paragraphs.
func prose(text string) string {
	paragraphs := strings.Split(text, "\n\n")
	for i := range paragraphs {
		paragraphs[i] = strings.Join(strings.Fields(paragraphs[i]), " ")
	}
	return escape(strings.Join(paragraphs, " "))
}

// escape escapes characters that Markdown would read as emphasis or HTML.
func escape(text string) string {
	return strings.NewReplacer("*", `\*`, "<", `\<`, "_", `\_`).Replace(text)
}

// sentence formats a rule's message as a sentence.
func sentence(message string) string { return escape(strings.TrimSuffix(message, ".")) + "." }
