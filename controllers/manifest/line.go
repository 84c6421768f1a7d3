package manifest

import (
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
)

// lineOf returns the line of a field ("spec.jwt.providers[0].jwks") in a document, or of the nearest enclosing field that the
// document has.
func lineOf(document *yamlv3.Node, path string) int {
	line, _, _ := find(document, path)
	return line
}

// textOf returns the text of a scalar as the file has it; empty if the path does not lead to one.
func textOf(document *yamlv3.Node, path string) string {
	if _, node, found := find(document, path); found && node.Kind == yamlv3.ScalarNode {
		return node.Value
	}
	return ""
}

// find returns the last node on the path that the document has, and its line. found says that it is the end of the path.
func find(document *yamlv3.Node, path string) (line int, node *yamlv3.Node, found bool) {
	node = document
	if node.Kind == yamlv3.DocumentNode && len(node.Content) > 0 {
		node = node.Content[0]
	}
	line = node.Line
	for _, part := range splitPath(path) {
		key, value := child(node, part)
		if value == nil {
			return line, node, false
		}
		node, line = value, key.Line
	}
	return line, node, true
}

// splitPath turns "a.b[0][name]" into its parts.
func splitPath(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

// child returns a mapping's key and value, or the same member of a sequence as both.
func child(node *yamlv3.Node, part string) (key, value *yamlv3.Node) {
	if node.Kind == yamlv3.AliasNode {
		node = node.Alias
	}
	switch node.Kind {
	case yamlv3.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == part {
				return node.Content[i], node.Content[i+1]
			}
		}
	case yamlv3.SequenceNode:
		if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i]
		}
	}
	return nil, nil
}

// items returns the members of the sequence "items" of a document.
func items(document *yamlv3.Node) []*yamlv3.Node {
	node := document
	if node.Kind == yamlv3.DocumentNode && len(node.Content) > 0 {
		node = node.Content[0]
	}
	_, list := child(node, "items")
	if list == nil || list.Kind != yamlv3.SequenceNode {
		return nil
	}
	var out []*yamlv3.Node
	for _, item := range list.Content {
		if item.Kind == yamlv3.AliasNode {
			item = item.Alias
		}
		out = append(out, item)
	}
	return out
}
