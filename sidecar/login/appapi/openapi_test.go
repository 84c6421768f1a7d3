package appapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/subject"
	"github.com/posterndev/postern/sidecar/usage"
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
		"Person": subjectRequest{}, "Erase": eraseRequest{}, "SubjectExport": subject.Export{}, "HeldRevocation": subject.Revocation{}, "Counts": subject.Counts{},
		"HeldPasswords": subject.Kept{}, "Omission": subject.Omission{}, "SubjectErasure": subject.Erasure{},
		"ClearRequest": clearRequest{}, "Cleared": clearResponse{},
		"AuditEvent": auditRequest{}, "AuditResource": auditResource{}, "AuditChange": auditChange{},
		"Top": usage.Top{}, "TopLogins": usage.FailedLogins{}, "TopRefusals": usage.Refusals{}, "TopAccount": usage.Account{}, "TopAddress": usage.Address{}, "TopRoute": usage.Route{},
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
			if options != "" && slices.Contains(s.Required, tag) {
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

// TestOpenAPIPassesLinters has the rules of Redocly's recommended set that apply to a document without examples, links and tags. The
// linter itself needs npm: npx @redocly/cli lint sidecar/login/appapi/openapi.json.
func TestOpenAPIPassesLinters(t *testing.T) {
	var d map[string]any
	if err := json.Unmarshal(openAPI, &d); err != nil {
		t.Fatal(err)
	}
	for _, problem := range lint(d) {
		t.Error(problem)
	}
	// Each rule is tried on a document that breaks it, because a linter that finds nothing proves nothing.
	for name, broken := range map[string]func(d map[string]any){
		"no-empty-servers":         func(d map[string]any) { delete(d, "servers") },
		"no-server-example.com":    func(d map[string]any) { d["servers"] = []any{map[string]any{"url": "http://localhost:1"}} },
		"no-server-trailing-slash": func(d map[string]any) { d["servers"] = []any{map[string]any{"url": "http://127.0.0.1/"}} },
		"info-license":             func(d map[string]any) { delete(d["info"].(map[string]any), "license") },
		"security-defined":         func(d map[string]any) { delete(d, "security") },
		"no-unresolved-refs": func(d map[string]any) {
			delete(d["components"].(map[string]any)["schemas"].(map[string]any), "Problem")
		},
		"no-unused-components": func(d map[string]any) {
			d["components"].(map[string]any)["schemas"].(map[string]any)["Unused"] = map[string]any{}
		},
		"operation-summary":              func(d map[string]any) { delete(operationOf(d, "/v1/tokens", "post"), "summary") },
		"operation-operationId-unique":   func(d map[string]any) { operationOf(d, "/v1/tokens", "post")["operationId"] = "describe" },
		"operation-operationId-url-safe": func(d map[string]any) { operationOf(d, "/v1/tokens", "post")["operationId"] = "a b" },
		"operation-2xx-response": func(d map[string]any) {
			delete(operationOf(d, "/v1/tokens", "post")["responses"].(map[string]any), "200")
		},
		"operation-4xx-response": func(d map[string]any) {
			operationOf(d, "/openapi.json", "get")["responses"] = map[string]any{"200": map[string]any{"description": "x"}}
		},
		"path-parameters-defined": func(d map[string]any) { delete(operationOf(d, "/v1/sessions/{id}", "delete"), "parameters") },
		"response without a description": func(d map[string]any) {
			operationOf(d, "/openapi.json", "get")["responses"] = map[string]any{"200": map[string]any{}, "400": map[string]any{"description": "x"}}
		},
		"a required member without schema": func(d map[string]any) {
			d["components"].(map[string]any)["schemas"].(map[string]any)["Problem"].(map[string]any)["required"] = []any{"absent"}
		},
		"a path with a query or a trailing": func(d map[string]any) {
			p := d["paths"].(map[string]any)
			p["/x/"] = p["/v1/tokens"]
			delete(p, "/v1/tokens")
		},
	} {
		var d map[string]any
		if err := json.Unmarshal(openAPI, &d); err != nil {
			t.Fatal(err)
		}
		if broken(d); len(lint(d)) == 0 {
			t.Errorf("a document that breaks %s passes", name)
		}
	}
}

func operationOf(d map[string]any, path, method string) map[string]any {
	return d["paths"].(map[string]any)[path].(map[string]any)[method].(map[string]any)
}

// lint returns what a linter would report.
func lint(d map[string]any) (problems []string) {
	report := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	servers, _ := d["servers"].([]any)
	if len(servers) == 0 {
		report("there are no servers")
	}
	for _, s := range servers {
		if url, _ := s.(map[string]any)["url"].(string); url == "" || strings.HasSuffix(url, "/") || strings.Contains(url, "localhost") || strings.Contains(url, "example.com") {
			report("server %q", url)
		}
	}
	license, _ := d["info"].(map[string]any)["license"].(map[string]any)
	if license["name"] == nil || (license["identifier"] == nil) == (license["url"] == nil) {
		report("license %v", license)
	}
	ids := map[any]bool{}
	for path, operations := range d["paths"].(map[string]any) {
		if strings.HasSuffix(path, "/") || strings.Contains(path, "?") {
			report("path %q", path)
		}
		for method, o := range operations.(map[string]any) {
			o := o.(map[string]any)
			id, _ := o["operationId"].(string)
			if ids[id] || !regexp.MustCompile(`^[A-Za-z0-9-._~:/?#\[\]@!$&'()*+,;=]+$`).MatchString(id) {
				report("%s %s: operationId %q", method, path, id)
			}
			ids[id] = true
			if d["security"] == nil && o["security"] == nil {
				report("%s %s: no security", method, path)
			}
			if o["summary"] == nil || o["summary"] == "" {
				report("%s %s: no summary", method, path)
			}
			problems = append(problems, lintResponses(path, o)...)
			problems = append(problems, lintParameters(d, path, o)...)
		}
	}
	return append(problems, lintReferences(d)...)
}

func lintResponses(path string, o map[string]any) (problems []string) {
	classes := map[byte]bool{}
	for status, response := range o["responses"].(map[string]any) {
		classes[status[0]] = true
		if description, _ := response.(map[string]any)["description"].(string); description == "" {
			problems = append(problems, path+": a response without description: "+status)
		}
	}
	if !classes['2'] || !classes['4'] {
		problems = append(problems, path+": no 2xx or no 4xx response")
	}
	return problems
}

// lintParameters compares the path's variables with the parameters.
func lintParameters(d map[string]any, path string, o map[string]any) (problems []string) {
	var declared, used []string
	parameters, _ := o["parameters"].([]any)
	for _, p := range parameters {
		p := p.(map[string]any)
		if ref, ok := p["$ref"].(string); ok {
			p, _ = resolve(d, ref).(map[string]any)
		}
		if p["in"] == "path" {
			declared = append(declared, p["name"].(string))
		}
	}
	for _, m := range regexp.MustCompile(`\{([^}]*)\}`).FindAllStringSubmatch(path, -1) {
		used = append(used, m[1])
	}
	if !slices.Equal(declared, used) {
		problems = append(problems, fmt.Sprintf("%s: parameters %v", path, declared))
	}
	return problems
}

func resolve(d map[string]any, ref string) any {
	var at any = d
	for _, name := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		m, _ := at.(map[string]any)
		at = m[name]
	}
	return at
}

// lintReferences finds references to nothing, components without a reference, and required members that a schema does not have.
func lintReferences(d map[string]any) (problems []string) {
	used := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				used[ref] = true
				if resolve(d, ref) == nil {
					problems = append(problems, "a reference to nothing: "+ref)
				}
			}
			if properties, ok := v["properties"].(map[string]any); ok {
				required, _ := v["required"].([]any)
				for _, name := range required {
					if properties[name.(string)] == nil {
						problems = append(problems, fmt.Sprintf("required, but not described: %v", name))
					}
				}
			}
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(d)
	for kind, components := range d["components"].(map[string]any) {
		for name := range components.(map[string]any) {
			if !used["#/components/"+kind+"/"+name] {
				problems = append(problems, "a component that nothing uses: "+name)
			}
		}
	}
	return problems
}
