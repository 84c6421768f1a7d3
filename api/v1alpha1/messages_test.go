package v1alpha1_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// messages has a wrong value of each text that has a form, and the example that the refusal shows.
var messages = map[string]validation{
	"5/min as a rate":                  {spec: limit(`limit: 5/min`), wantErr: "such as 5/minute or 100/15m"},
	"a rate without a period":          {spec: limit(`limit: "5"`), wantErr: "such as 5/minute or 100/15m"},
	"a period of no unit":              {spec: limit(`limit: 5/x5m`), wantErr: "such as 5/minute or 100/15m"},
	"a duration in days":               {spec: tokens(`, refreshLifetime: 7d`), wantErr: "not a duration: write numbers with the unit ms, s, m or h, such as 30s, 15m or 168h"},
	"a duration without a unit":        {spec: `{selector: {}, cors: {allowOrigins: ["https://a"], maxAge: "60"}}`, wantErr: "such as 30s, 15m or 168h"},
	"two durations":                    {spec: strings.Replace(tokens(``), "{selector", "{sessions: {idleTimeout: 1d, absoluteTimeout: 30 days}, selector", 1), wantErr: "such as 30s, 15m or 168h"},
	"a duration of the class":          {kind: "SidecarClass", spec: `{drainTimeout: 1 minute}`, wantErr: "such as 30s, 15m or 168h"},
	"an idle timeout without a unit":   {kind: "SidecarClass", spec: `{connections: {idleTimeout: "2"}}`, wantErr: "such as 30s, 15m or 168h"},
	"a timeout of Redis":               {kind: "SidecarClass", spec: redis(`addresses: ["r:6379"], timeout: "100"`), wantErr: "such as 30s, 15m or 168h"},
	"times of Vault":                   {kind: "SidecarClass", spec: vaultTimes(`timeout: 5sec, pollInterval: 30sec, maxStale: 1d`), wantErr: "such as 30s, 15m or 168h"},
	"times of a rotation":              {spec: tokens(`, rotation: {interval: 30d, overlap: 1d}`), wantErr: "such as 30s, 15m or 168h"},
	"a size in kB":                     {spec: `{selector: {}, compression: {minSize: 1kB}}`, wantErr: "such as 512, 64KiB or 2MiB"},
	"a name in upper case":             {spec: strings.Replace(limit(`limit: 5/minute`), "name: a, limit", "name: Big, limit", 1), wantErr: "such as corp-login"},
	"a provider's name":                {spec: strings.Replace(provider(good), "name: a,", "name: corp_login,", 1), wantErr: "such as corp-login"},
	"a rule's name":                    {spec: `{selector: {}, authorization: {rules: [{name: a.b, match: [{}], require: Deny}]}}`, wantErr: "such as corp-login"},
	"a token's header":                 {spec: provider(good + `, from: [{header: "X Token"}]`), wantErr: "such as X-Token"},
	"a token's cookie":                 {spec: provider(good + `, from: [{cookie: "a;b"}]`), wantErr: "such as __Host-token"},
	"a claim's header":                 {spec: provider(good + `, claimsToHeaders: [{claim: sub, header: X_Sub}]`), wantErr: "such as X-Auth-Subject"},
	"a header to set":                  {spec: `{selector: {}, headers: {set: [{name: "X-A:", value: a}]}}`, wantErr: "such as X-Request-ID"},
	"a header to remove":               {spec: `{selector: {}, headers: {remove: ["X A"]}}`, wantErr: "such as X-Request-ID"},
	"a header to keep":                 {spec: `{selector: {}, headers: {keep: ["X A"]}}`, wantErr: "such as X-Request-ID"},
	"a header to omit on a route":      {spec: `{selector: {}, headers: {routes: [{name: a, match: [{}], omit: ["X A"]}]}}`, wantErr: "such as X-Request-ID"},
	"a header's value in Cyrillic":     {spec: `{selector: {}, headers: {set: [{name: X-A, value: да}]}}`, wantErr: "such as max-age=600"},
	"an origin in upper case":          {spec: `{selector: {}, cors: {allowOrigins: ["https://App.example.com"]}}`, wantErr: "such as https://app.example.com:8443"},
	"an origin without a scheme":       {spec: `{selector: {}, cors: {allowOrigins: [app.example.com]}}`, wantErr: "such as https://app.example.com:8443"},
	"a header in CORS":                 {spec: `{selector: {}, cors: {allowOrigins: ["https://a"], allowHeaders: ["X A"], exposeHeaders: ["X-A"]}}`, wantErr: "such as X-Request-ID"},
	"an exposed header":                {spec: `{selector: {}, cors: {allowOrigins: ["https://a"], exposeHeaders: ["X A"]}}`, wantErr: "such as X-Request-ID"},
	"a method in CORS":                 {spec: `{selector: {}, cors: {allowOrigins: ["https://a"], allowMethods: ["GET,PUT"]}}`, wantErr: "such as PATCH, or *"},
	"a trusted origin":                 {spec: tokens(`, delivery: Cookie, cookie: {trustedOrigins: [app.example.com]}`), wantErr: "such as https://app.example.com"},
	"a media type":                     {spec: `{selector: {}, compression: {types: [json]}}`, wantErr: "such as application/json or text/*"},
	"a path in Vault with its slash":   {spec: strings.Replace(tokens(``), "secretKeyRef: {name: k, key: k}", "vault: {path: /secret/key, key: pem}", 1), wantErr: "such as secret/shop/redis"},
	"a Secret's name":                  {spec: strings.Replace(tokens(``), "name: k,", "name: K_1,", 1), wantErr: "such as orders-keys"},
	"a Secret's key":                   {spec: strings.Replace(tokens(``), "key: k}", "key: a/b}", 1), wantErr: "such as password"},
	"a mount of Transit":               {spec: strings.Replace(tokens(``), "secretKeyRef: {name: k, key: k}", "transit: {mount: transit/, key: k}", 1), wantErr: "such as kubernetes or auth/shop"},
	"a key of Transit":                 {spec: strings.Replace(tokens(``), "secretKeyRef: {name: k, key: k}", "transit: {key: a/b}", 1), wantErr: "such as orders-tokens"},
	"a prefix with a slash at its end": {spec: tokens(`, endpoints: {prefix: /auth/}`), wantErr: "such as /auth"},
	"a port's name with an underscore": {spec: `{selector: {}, ports: [{port: http_1}]}`, wantErr: "write port: 8080 or port: http"},
	"a mount of Kubernetes in Vault":   {kind: "SidecarClass", spec: vault(`https://v`, `kubernetes: {role: r, mount: /k8s}`), wantErr: "such as kubernetes or auth/shop"},
	"a mount of AppRole":               {kind: "SidecarClass", spec: vault(`https://v`, `appRole: {roleID: r, mount: approle/}`), wantErr: "such as kubernetes or auth/shop"},
	"a relative token file":            {kind: "SidecarClass", spec: vault(`http://127.0.0.1:8200`, `tokenFile: run/token`), wantErr: "such as /run/vault/token"},
	"an address of Redis":              {kind: "SidecarClass", spec: redis(`addresses: ["redis://r:6379"]`), wantErr: "such as redis.shop.svc:6379"},
}

// allValidations returns the cases of all tables.
func allValidations() map[string]validation {
	all := maps.Clone(validations)
	maps.Copy(all, messages)
	maps.Copy(all, audits)
	return all
}

// raw are the texts with which the API server shows a pattern, and CEL a value that it cannot convert.
var raw = []string{"should match", "type conversion error"}

// TestPatternsHaveMessages: a text with a form has a rule with a message. A pattern has none: the API server shows it as it is.
func TestPatternsHaveMessages(t *testing.T) {
	// Rules for lists in lists in lists are too expensive for the API server, so the pattern of paths remains.
	kept := map[string]bool{"paths": true}
	files, err := filepath.Glob("../../config/crd/bases/*.yaml")
	if err != nil || len(files) != 3 {
		t.Fatalf("found %d CRDs: %v", len(files), err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(content, &crd); err != nil {
			t.Fatal(err)
		}
		withPattern(crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"], "spec", func(path, pattern string) {
			if fields := strings.Split(path, "."); !kept[fields[len(fields)-1]] {
				t.Errorf("%s %s: the pattern %s has no message", crd.Spec.Names.Kind, path, pattern)
			}
		})
	}
}

// withPattern calls found for each field of the schema that has a pattern.
func withPattern(schema apiextensionsv1.JSONSchemaProps, path string, found func(path, pattern string)) {
	if schema.Pattern != "" && !strings.HasSuffix(path, ".resources") {
		found(path, schema.Pattern)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		withPattern(*schema.Items.Schema, path, found)
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		withPattern(schema.Properties[name], path+"."+name, found)
	}
}
