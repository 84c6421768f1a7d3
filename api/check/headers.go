package check

import (
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/check/fieldset"
	"github.com/posterndev/postern/api/compiled"
)

// Header presets.
const (
	PresetStrict = "Strict"
	PresetAPI    = "API"
	PresetNone   = "None"
)

// PresetHeaders returns the canonical names of the headers that a preset adds. Other names than Strict and API add none.
func PresetHeaders(preset string) []string {
	common := []string{
		"Strict-Transport-Security", "Cache-Control", "Cross-Origin-Resource-Policy", "Referrer-Policy", "X-Content-Type-Options",
		"X-Frame-Options", "X-Permitted-Cross-Domain-Policies", "X-Xss-Protection", "Content-Security-Policy",
	}
	switch preset {
	case PresetStrict:
		return append(common, "Cross-Origin-Opener-Policy", "Cross-Origin-Embedder-Policy", "Permissions-Policy")
	case PresetAPI:
		return common
	}
	return nil
}

// LeakHeaders are the headers that the presets Strict and API remove, because they reveal the software behind the sidecar. They are
// from OWASP's list of headers to remove. A name that ends in * stands for all names with that prefix.
func LeakHeaders() []string {
	return []string{
		"Server", "X-Powered-By", "X-Powered-By-*", "X-Powered-CMS", "Powered-By", "X-Server-Powered-By", "X-CF-Powered-By",
		"X-Turbo-Charged-By", "X-AspNet-Version", "X-AspNetMvc-Version", "X-SourceFiles", "X-Generator", "X-Generated-By",
		"X-Content-Encoded-By", "X-Framework", "X-CMS", "X-PHP-Version", "X-Cocoon-Version", "X-OWA-Version", "X-FEServer",
		"X-BEServer", "X-CalculatedBETarget", "X-DiagInfo", "X-Backside-Transport", "X-Varnish-*", "X-Envoy-*", "X-Redirect-By",
		"X-Umbraco-Version", "Liferay-Portal", "OracleCommerceCloud-Version", "Pega-Host", "Host-Header", "Product",
	}
}

// Headers returns the problems of a policy's response headers.
func Headers(h *compiled.Headers) []Problem {
	c := &checker{}
	c.headers(h)
	return c.problems
}

func (c *checker) headers(h *compiled.Headers) {
	if h == nil {
		return
	}
	const field = "spec.headers"
	c.add(field+".preset", oneOf(h.Preset, PresetStrict, PresetAPI, PresetNone))
	c.headerRules(field, h.Preset, &h.HeaderRules)
	for i := range h.Routes {
		r, at := &h.Routes[i], at(field+".routes", i)
		if len(r.Match) == 0 {
			c.addf(at+".match", "the route matches nothing; write at least one match, for example {paths: [/assets/**]}")
		}
		c.matches(at+".match", r.Match)
		preset := h.Preset
		if r.Preset != "" {
			preset = r.Preset
			c.add(at+".preset", oneOf(preset, PresetStrict, PresetAPI, PresetNone))
		}
		c.headerRules(at, preset, &r.HeaderRules)
	}
}

// headerRules checks the lists of the policy or of a route. preset is what applies there.
func (c *checker) headerRules(field, preset string, h *compiled.HeaderRules) {
	used := map[string]string{}
	claim := func(at, name, list string) {
		name = textproto.CanonicalMIMEHeaderKey(name)
		if other, taken := used[name]; taken {
			c.addf(at, "%s is in %s already (header names ignore case); leave one out", name, other)
		}
		used[name] = list
	}
	for i, name := range h.Keep {
		c.add(at(field+".keep", i), presetName(preset, name, LeakHeaders()...))
		claim(at(field+".keep", i), name, "keep")
	}
	for i, name := range h.Omit {
		c.add(at(field+".omit", i), presetName(preset, name))
		claim(at(field+".omit", i), name, "omit")
	}
	for i, name := range h.Remove {
		c.add(at(field+".remove", i), ResponseFieldName(name))
		claim(at(field+".remove", i), name, "remove")
	}
	for i, f := range h.Set {
		at := at(field+".set", i)
		c.add(at+".name", ResponseFieldName(f.Name))
		claim(at+".name", f.Name, "set")
		c.add(at+".value", ResponseFieldValue(f.Value))
	}
}

// presetName refuses a header that the preset neither adds nor has in also, because loosening it would do nothing.
func presetName(preset, name string, also ...string) error {
	names := PresetHeaders(preset)
	if len(names) == 0 {
		return errors.New("the preset None adds and removes no header, so there is nothing to loosen; leave the name out, or choose the preset Strict or API")
	}
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	if slices.Contains(names, canonical) || fieldset.New(also...).Has(canonical) {
		return nil
	}
	return fmt.Errorf("the preset %s does not have the header %q; write one of %s", preset, name, strings.Join(names, ", "))
}
