// Package manifest reads Postern's objects from YAML as the API server would: with the CRDs' schemas, defaults and CEL rules,
// but offline, and with the line of each finding.
package manifest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	yamlv3 "go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
)

// MaxSize bounds a file, in bytes.
const MaxSize = 4 << 20

// Objects holds the objects of Postern of one or more files, and the Secrets that policies can name. Other objects are only counted.
type Objects struct {
	Policies []Policy
	Classes  []Class
	// Revocations have no creationTimestamp, because they were never created.
	Revocations []Revocation
	Secrets     []Secret
	// Others counts the documents of other kinds.
	Others int
}

// Read parses one file. See Objects.Add.
func Read(ctx context.Context, file []byte) (Objects, []Finding, error) {
	var objects Objects
	findings, err := objects.Add(ctx, "", file)
	return objects, findings, err
}

// Add parses a file and adds its objects. Objects with findings that are not warnings are not added. An error means that the file
// cannot be parsed. Then nothing is added.
func (o *Objects) Add(ctx context.Context, name string, file []byte) ([]Finding, error) {
	if len(file) > MaxSize {
		return nil, fmt.Errorf("reading manifest: more than %d bytes", MaxSize)
	}
	byKind, err := schemas()
	if err != nil {
		return nil, err
	}
	r := reader{file: name, schemas: byKind}
	decoder := yamlv3.NewDecoder(bytes.NewReader(file))
	for {
		node := &yamlv3.Node{}
		err := decoder.Decode(node)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading manifest: %w", err)
		}
		if err := r.document(ctx, node); err != nil {
			return nil, err
		}
	}
	o.Policies = append(o.Policies, r.objects.Policies...)
	o.Classes = append(o.Classes, r.objects.Classes...)
	o.Revocations = append(o.Revocations, r.objects.Revocations...)
	o.Secrets = append(o.Secrets, r.objects.Secrets...)
	o.Others += r.objects.Others
	return r.findings, nil
}

// reader collects the objects and the findings of one file.
type reader struct {
	file     string
	schemas  map[string]*objectSchema
	objects  Objects
	findings []Finding
}

// document adds the object of one document, or the items of a List, as kubectl get prints them. Lists in lists are not read.
func (r *reader) document(ctx context.Context, node *yamlv3.Node) error {
	content, meta, err := toMap(node)
	if err != nil {
		return fmt.Errorf("reading manifest, line %d: %w", node.Line, err)
	}
	if content == nil {
		return nil
	}
	if meta.APIVersion != "v1" || meta.Kind != "List" {
		return r.object(ctx, node, content, meta)
	}
	for _, item := range items(node) {
		content, meta, err := toMap(item)
		if err == nil && content != nil {
			err = r.object(ctx, item, content, meta)
		}
		if err != nil {
			return fmt.Errorf("reading manifest, item of a List at line %d: %w", item.Line, err)
		}
	}
	return nil
}

// object validates an object, and adds it if it is valid.
func (r *reader) object(ctx context.Context, node *yamlv3.Node, content map[string]any, meta metav1.TypeMeta) error {
	at := place{file: r.file, node: node}
	gv, err := schema.ParseGroupVersion(meta.APIVersion)
	if meta.APIVersion == "v1" && meta.Kind == "Secret" {
		r.keepSecret(content, at)
		return nil
	}
	if err != nil || gv.Group != v1alpha1.GroupVersion.Group {
		r.objects.Others++
		return nil
	}
	known, ok := r.schemas[meta.Kind]
	if !ok || gv.Version != v1alpha1.GroupVersion.Version {
		message := fmt.Sprintf("there is no %s in %s", meta.Kind, meta.APIVersion)
		r.findings = append(r.findings, Finding{File: r.file, Line: node.Line, Object: meta.Kind, Field: "kind", Message: message})
		return nil
	}
	findings := known.validate(ctx, content, node)
	if len(findings) == 0 {
		return r.keep(meta.Kind, content, at)
	}
	for _, f := range findings {
		f.File = r.file
		r.findings = append(r.findings, f)
	}
	return nil
}

func (r *reader) keep(kind string, content map[string]any, at place) error {
	b, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("reading manifest, line %d: %w", at.node.Line, err)
	}
	switch kind {
	case "SidecarClass":
		c := Class{place: at}
		err = json.Unmarshal(b, &c.SidecarClass)
		r.objects.Classes = append(r.objects.Classes, c)
	case "TokenRevocation":
		t := Revocation{place: at}
		err = json.Unmarshal(b, &t.TokenRevocation)
		r.objects.Revocations = append(r.objects.Revocations, t)
	default:
		p := Policy{place: at}
		err = json.Unmarshal(b, &p.SecurityPolicy)
		r.objects.Policies = append(r.objects.Policies, p)
	}
	if err != nil {
		return fmt.Errorf("reading manifest, line %d: %w", at.node.Line, err)
	}
	return nil
}

// keepSecret keeps the names of a Secret's keys, and of its values those of a certificate with its key. A Secret that the API server would refuse is not kept.
func (r *reader) keepSecret(content map[string]any, at place) {
	var in struct {
		Metadata         metav1.ObjectMeta
		Data, StringData map[string]any
	}
	b, err := json.Marshal(content)
	if err != nil || json.Unmarshal(b, &in) != nil || in.Metadata.Name == "" {
		r.objects.Others++
		return
	}
	keys := append(slices.Collect(maps.Keys(in.Data)), slices.Collect(maps.Keys(in.StringData))...)
	value := func(key string) []byte {
		if text, ok := in.StringData[key].(string); ok {
			return []byte(text)
		}
		text, _ := in.Data[key].(string)
		decoded, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil
		}
		return decoded
	}
	r.objects.Secrets = append(r.objects.Secrets, Secret{
		Namespace: in.Metadata.Namespace, Name: in.Metadata.Name, Keys: keys, Chain: value("tls.crt"), Key: value("tls.key"), place: at,
	})
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
