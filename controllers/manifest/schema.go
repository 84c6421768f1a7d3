package manifest

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/config/crd"
)

// unmarshal decodes JSON with integers as int64, as the API server does.
func unmarshal(b []byte, v any) error { return utiljson.Unmarshal(b, v) }

// objectSchema validates the objects of one kind.
type objectSchema struct {
	kind       string
	structural *structural.Structural
	schema     validation.SchemaValidator
	cel        *cel.Validator
}

// schemas returns the CRDs of this build, by kind. They are kept, because compiling their rules takes most of a second. They are safe for
// concurrent use.
var schemas = sync.OnceValues(loadSchemas)

func loadSchemas() (map[string]*objectSchema, error) {
	byKind := map[string]*objectSchema{}
	files, err := fs.Glob(crd.Bases, "bases/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("finding CRDs: %w", err)
	}
	for _, file := range files {
		b, err := crd.Bases.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading CRD: %w", err)
		}
		s, err := newObjectSchema(b)
		if err != nil {
			return nil, fmt.Errorf("reading CRD %s: %w", file, err)
		}
		byKind[s.kind] = s
	}
	return byKind, nil
}

func newObjectSchema(manifest []byte) (*objectSchema, error) {
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(manifest, &definition); err != nil {
		return nil, err
	}
	for _, version := range definition.Spec.Versions {
		if version.Name != v1alpha1.GroupVersion.Version {
			continue
		}
		var internal apiextensions.JSONSchemaProps
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, &internal, nil); err != nil {
			return nil, err
		}
		s, err := structural.NewStructural(&internal)
		if err != nil {
			return nil, err
		}
		validator, _, err := validation.NewSchemaValidator(&internal)
		if err != nil {
			return nil, err
		}
		return &objectSchema{
			kind: definition.Spec.Names.Kind, structural: s, schema: validator,
			cel: cel.NewValidator(s, true, celconfig.PerCallLimit),
		}, nil
	}
	return nil, fmt.Errorf("no version %s", v1alpha1.GroupVersion.Version)
}

// validate fills in defaults and returns what the API server would refuse. Unknown fields are findings: kubectl refuses them
// as well, and they would have no effect.
func (s *objectSchema) validate(ctx context.Context, content map[string]any, node *yamlv3.Node) []Finding {
	object := s.kind + "/" + nameOf(content)
	delete(content, "status") // the operator's, possibly of another version
	var findings []Finding
	unknown := pruning.PruneWithOptions(content, s.structural, true, structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	sort.Strings(unknown)
	for _, path := range unknown {
		findings = append(findings, Finding{Line: lineOf(node, path), Object: object, Field: path, Message: "unknown field" + s.fieldsBeside(path)})
	}
	defaulting.Default(content, s.structural)
	for _, err := range s.errors(ctx, content) {
		findings = append(findings, Finding{Line: lineOf(node, err.Field), Object: object, Field: err.Field, Message: message(err, textOf(node, err.Field))})
	}
	return findings
}

// fieldsBeside names the fields that there are in place of an unknown one.
func (s *objectSchema) fieldsBeside(path string) string {
	names := strings.Split(path, ".")
	at := s.structural
	for _, name := range names[:len(names)-1] {
		name, index, _ := strings.Cut(name, "[")
		next, ok := at.Properties[name]
		if !ok {
			return ""
		}
		for at = &next; index != "" && at.Items != nil; _, index, _ = strings.Cut(index, "[") {
			at = at.Items
		}
	}
	if len(at.Properties) == 0 {
		return ""
	}
	return ": there are " + strings.Join(slices.Sorted(maps.Keys(at.Properties)), ", ")
}

// message returns the API server's message; text is what the file has in the field. It adds the cause that is hard to see: YAML 1.1 reads some words as other types than text, and
// a number without its unit is none.
func message(err *field.Error, text string) string {
	body := err.ErrorBody()
	if err.Type != field.ErrorTypeTypeInvalid {
		return body
	}
	switch {
	case strings.Contains(body, `must be of type string: "number"`) && text != "":
		body += fmt.Sprintf("; YAML reads it as a number: write %.64q", text)
	case strings.Contains(body, `must be of type string: "integer"`):
		body += `; YAML reads it as a number: write it with its unit, such as 30s, 16MiB or 400d, or in quotes`
	case strings.Contains(body, "must be of type string"):
		body += `; YAML reads words such as no, yes, on, off and null as other types than text: write them in quotes, such as "no"`
	case strings.Contains(body, `must be of type integer: "string"`), strings.Contains(body, `must be of type number: "string"`):
		body += "; write a number, without quotes and without a unit"
	}
	return body
}

// errors validates in the API server's order: CEL rules run on objects whose fields the schema has in this type and size.
func (s *objectSchema) errors(ctx context.Context, content map[string]any) field.ErrorList {
	errs := validateMeta(content)
	errs = append(errs, withoutRepeats(validation.ValidateCustomResource(nil, content, s.schema))...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, s.structural, content)...)
	if s.cel == nil || slices.ContainsFunc(errs, blocksRules) {
		return errs
	}
	violations, _ := s.cel.Validate(ctx, nil, s.structural, content, nil, celconfig.RuntimeCELCostBudget)
	return append(errs, violations...)
}

// withoutRepeats removes the unsupported values whose type is wrong already: the list of values would suggest that the value is one of them.
func withoutRepeats(errs field.ErrorList) field.ErrorList {
	wrongType := map[string]bool{}
	for _, err := range errs {
		wrongType[err.Field] = wrongType[err.Field] || err.Type == field.ErrorTypeTypeInvalid
	}
	return slices.DeleteFunc(errs, func(err *field.Error) bool { return err.Type == field.ErrorTypeNotSupported && wrongType[err.Field] })
}

// blocksRules says whether the API server evaluates no rules of an object with this error: see hasBlockingErr in
// k8s.io/apiextensions-apiserver/pkg/registry/customresource.
func blocksRules(err *field.Error) bool {
	switch err.Type {
	case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
		return true
	default:
		return false
	}
}

func validateMeta(content map[string]any) field.ErrorList {
	path := field.NewPath("metadata", "name")
	name := nameOf(content)
	if meta, _ := content["metadata"].(map[string]any); meta["name"] != nil && name == "" {
		return field.ErrorList{field.TypeInvalid(path, meta["name"], "metadata.name must be of type string")}
	}
	if name == "" {
		return field.ErrorList{field.Required(path, "an object needs a name")}
	}
	var errs field.ErrorList
	for _, message := range apivalidation.NameIsDNSSubdomain(name, false) {
		errs = append(errs, field.Invalid(path, name, message))
	}
	return errs
}

func nameOf(content map[string]any) string {
	meta, _ := content["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	return name
}
