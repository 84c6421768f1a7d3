package appapi

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/login/session"
)

// document is the part of openapi.json that the tests check.
type document struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		OperationID string
		Parameters  []reference
		Responses   map[string]any
	}
	Components struct {
		Schemas map[string]schema
	}
}

type reference struct {
	Ref string `json:"$ref"`
}

type schema struct {
	Properties           map[string]any
	Required             []string
	AdditionalProperties *bool
}

func readDocument(t *testing.T) document {
	t.Helper()
	var d document
	if err := json.Unmarshal(openAPI, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestOpenAPIHasEveryOperation compares the document's operations with the API's.
func TestOpenAPIHasEveryOperation(t *testing.T) {
	d := readDocument(t)
	if d.OpenAPI != "3.1.0" {
		t.Errorf("version %q", d.OpenAPI)
	}
	var described, served []string
	for path, operations := range d.Paths {
		for method := range operations {
			described = append(described, strings.ToUpper(method)+" "+path)
		}
	}
	for _, e := range (&api{}).endpoints() {
		served = append(served, e.method+" "+e.path)
	}
	slices.Sort(described)
	slices.Sort(served)
	if !slices.Equal(described, served) {
		t.Errorf("described %v; served %v", described, served)
	}
}

// TestOpenAPIHasEveryMember compares the document's schemas with the Go types that are decoded and encoded.
func TestOpenAPIHasEveryMember(t *testing.T) {
	d := readDocument(t)
	for name, v := range map[string]any{
		"IssueRequest": issueRequest{}, "Device": deviceRequest{}, "Tokens": issueResponse{}, "TokenRequest": tokenRequest{},
		"Sessions": listResponse{}, "Session": session.Resource{}, "Ended": endedResponse{}, "HashRequest": hashRequest{}, "Hash": hashResponse{},
		"RevocationRequest": revocationRequest{}, "RevocationAnswer": revocationResponse{},
		"VerifyRequest": verifyRequest{}, "Verification": verifyResponse{}, "Empty": struct{}{},
	} {
		s, ok := d.Components.Schemas[name]
		if !ok || s.AdditionalProperties == nil || *s.AdditionalProperties {
			t.Errorf("%s is not described, or allows additional properties", name)
			continue
		}
		members := map[string]bool{}
		for i := range reflect.TypeOf(v).NumField() {
			tag, options, _ := strings.Cut(reflect.TypeOf(v).Field(i).Tag.Get("json"), ",")
			members[tag] = true
			if _, ok := s.Properties[tag]; !ok {
				t.Errorf("%s has no %s", name, tag)
			}
			if options == "omitempty" && slices.Contains(s.Required, tag) {
				t.Errorf("%s.%s is documented as required", name, tag)
			}
		}
		for property := range s.Properties {
			if !members[property] {
				t.Errorf("%s.%s is documented, but does not exist", name, property)
			}
		}
	}
}
