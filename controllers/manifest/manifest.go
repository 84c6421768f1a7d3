// Package manifest reads Postern's objects from YAML as the API server would: with the CRDs' schemas, defaults and CEL rules,
// but offline, and with the line of each finding.
package manifest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	yamlv3 "go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
)

// MaxSize bounds a file, in bytes.
const MaxSize = 4 << 20

// Finding is an error or a warning about a file.
type Finding struct {
	// Line in the file, starting at 1.
	Line int
	// Object is kind/name, and Field the path in it.
	Object, Field string
	Message       string
	// Warning is true if the API server would accept the object nevertheless.
	Warning bool
}

// Objects holds a file's objects of Postern. Other objects are only counted.
type Objects struct {
	Policies []Policy
	Classes  []v1alpha1.SidecarClass
	// Revocations have no creationTimestamp, because they were never created.
	Revocations []Revocation
	// Others counts the documents of other kinds.
	Others int
}

// Policy is a SecurityPolicy with its place in the file.
type Policy struct {
	v1alpha1.SecurityPolicy
	node *yamlv3.Node
}

// Finding returns a finding about a field of p, with its line.
func (p *Policy) Finding(field, message string, warning bool) Finding {
	return Finding{Line: lineOf(p.node, field), Object: "SecurityPolicy/" + p.Name, Field: field, Message: message, Warning: warning}
}

// Revocation is a TokenRevocation with its place in the file.
type Revocation struct {
	v1alpha1.TokenRevocation
	node *yamlv3.Node
}

// Warning returns a finding about a field of r, with its line.
func (r *Revocation) Warning(field, message string) Finding {
	return Finding{Line: lineOf(r.node, field), Object: "TokenRevocation/" + r.Name, Field: field, Message: message, Warning: true}
}

// Read parses a file. Objects with findings that are not warnings are not in the result. An error means that the file is not
// YAML.
func Read(ctx context.Context, file []byte) (Objects, []Finding, error) {
	var objects Objects
	var findings []Finding
	if len(file) > MaxSize {
		return objects, nil, fmt.Errorf("reading manifest: more than %d bytes", MaxSize)
	}
	byKind, err := schemas()
	if err != nil {
		return objects, nil, err
	}
	decoder := yamlv3.NewDecoder(bytes.NewReader(file))
	for {
		node := &yamlv3.Node{}
		err := decoder.Decode(node)
		if errors.Is(err, io.EOF) {
			return objects, findings, nil
		}
		if err != nil {
			return objects, nil, fmt.Errorf("reading manifest: %w", err)
		}
		found, err := objects.add(ctx, byKind, node)
		if err != nil {
			return objects, nil, err
		}
		findings = append(findings, found...)
	}
}

// add validates one document and adds the object if it is valid.
func (o *Objects) add(ctx context.Context, byKind map[string]*objectSchema, node *yamlv3.Node) ([]Finding, error) {
	content, meta, err := toMap(node)
	if err != nil {
		return nil, fmt.Errorf("reading manifest, line %d: %w", node.Line, err)
	}
	if content == nil {
		return nil, nil
	}
	gv, err := schema.ParseGroupVersion(meta.APIVersion)
	if err != nil || gv.Group != v1alpha1.GroupVersion.Group {
		o.Others++
		return nil, nil
	}
	known, ok := byKind[meta.Kind]
	if !ok || gv.Version != v1alpha1.GroupVersion.Version {
		return []Finding{{Line: node.Line, Object: meta.Kind, Field: "kind", Message: fmt.Sprintf("there is no %s in %s", meta.Kind, meta.APIVersion)}}, nil
	}
	findings := known.validate(ctx, content, node)
	if len(findings) > 0 {
		return findings, nil
	}
	return nil, o.keep(meta.Kind, content, node)
}

func (o *Objects) keep(kind string, content map[string]any, node *yamlv3.Node) error {
	b, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("reading manifest, line %d: %w", node.Line, err)
	}
	switch kind {
	case "SidecarClass":
		var c v1alpha1.SidecarClass
		err = json.Unmarshal(b, &c)
		o.Classes = append(o.Classes, c)
	case "TokenRevocation":
		r := Revocation{node: node}
		err = json.Unmarshal(b, &r.TokenRevocation)
		o.Revocations = append(o.Revocations, r)
	default:
		p := Policy{node: node}
		err = json.Unmarshal(b, &p.SecurityPolicy)
		o.Policies = append(o.Policies, p)
	}
	if err != nil {
		return fmt.Errorf("reading manifest, line %d: %w", node.Line, err)
	}
	return nil
}

// toMap returns the document as the API server decodes it, and its type. It returns nil for an empty document.
func toMap(node *yamlv3.Node) (map[string]any, metav1.TypeMeta, error) {
	var meta metav1.TypeMeta
	text, err := yamlv3.Marshal(node)
	if err != nil {
		return nil, meta, err
	}
	js, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, meta, err
	}
	if string(js) == "null" {
		return nil, meta, nil
	}
	var content map[string]any
	if err := unmarshal(js, &content); err != nil {
		return nil, meta, errors.New("this is not a Kubernetes object")
	}
	_ = json.Unmarshal(js, &meta) // the schema reports what is missing
	return content, meta, nil
}
