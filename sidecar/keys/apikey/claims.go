package apikey

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of the claims of one entry.
const (
	maxClaimDepth = 8
	maxClaimNodes = 256
)

// reserved are the claims that the entry's other fields set, and those by which tokens are revoked and kept in sessions.
var reserved = map[string]bool{"iss": true, "sub": true, "scope": true, "exp": true, "jti": true, "iat": true, "nbf": true, "sid": true, "aud": true}

// parseClaims converts a YAML object to the values of a JSON one.
func parseClaims(node *yaml.Node) (map[string]any, error) {
	if node.IsZero() {
		return map[string]any{}, nil
	}
	left := maxClaimNodes
	v, err := value(node, maxClaimDepth, &left)
	if err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	claims, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("claims is not an object")
	}
	for name := range claims {
		if reserved[name] {
			return nil, fmt.Errorf("claims: %s cannot be set here; write subject, scopes or expires for sub, scope or exp", name)
		}
	}
	return claims, nil
}

func value(n *yaml.Node, depth int, left *int) (any, error) {
	if *left--; depth == 0 || *left < 0 {
		return nil, fmt.Errorf("they are deeper than %d or have more than %d values", maxClaimDepth, maxClaimNodes)
	}
	switch n.Kind {
	case yaml.SequenceNode:
		list := []any{}
		for _, child := range n.Content {
			v, err := value(child, depth-1, left)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		return object(n, depth, left)
	}
	return scalar(n)
}

func object(n *yaml.Node, depth int, left *int) (any, error) {
	out := map[string]any{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i]
		if name.Kind != yaml.ScalarNode || name.Tag == "!!merge" {
			return nil, fmt.Errorf("line %d: a name is not a text", name.Line)
		}
		if _, twice := out[name.Value]; twice {
			return nil, fmt.Errorf("line %d: a name is written twice", name.Line)
		}
		v, err := value(n.Content[i+1], depth-1, left)
		if err != nil {
			return nil, err
		}
		out[name.Value] = v
	}
	return out, nil
}

// scalar reads a scalar as JSON has it. A number that JSON cannot write, such as 0x10 or .inf, and a time are texts.
func scalar(n *yaml.Node) (any, error) {
	switch n.Tag {
	case "!!null":
		return nil, nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true"), nil
	case "!!int", "!!float":
		var number json.Number
		if json.Unmarshal([]byte(n.Value), &number) == nil {
			return number, nil
		}
		return n.Value, nil
	case "!!str", "!!timestamp":
		return n.Value, nil
	}
	return nil, fmt.Errorf("line %d: the tag is not accepted", n.Line)
}
