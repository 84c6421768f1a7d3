package headers

import (
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/field"
)

// presetField is one header of a preset.
type presetField struct {
	name, value string
	// keep returns what to send in place of value, given what the app sent, or "" for value. It is nil if the app cannot
	// have a stricter value.
	keep func(app []string) string
}

func (f presetField) choose(app []string) string {
	if f.keep != nil && len(app) > 0 {
		if kept := f.keep(app); kept != "" {
			return kept
		}
	}
	return f.value
}

// leaks are headers that reveal the software behind the sidecar, from OWASP's list of headers to remove.
var leaks = [...]string{
	"Server", "X-Powered-By", "X-Powered-By-*", "X-Powered-CMS", "Powered-By", "X-Server-Powered-By", "X-CF-Powered-By",
	"X-Turbo-Charged-By", "X-AspNet-Version", "X-AspNetMvc-Version", "X-SourceFiles", "X-Generator", "X-Generated-By",
	"X-Content-Encoded-By", "X-Framework", "X-CMS", "X-PHP-Version", "X-Cocoon-Version", "X-OWA-Version", "X-FEServer",
	"X-BEServer", "X-CalculatedBETarget", "X-DiagInfo", "X-Backside-Transport", "X-Varnish-*", "X-Envoy-*", "X-Redirect-By",
	"X-Umbraco-Version", "Liferay-Portal", "OracleCommerceCloud-Version", "Pega-Host", "Host-Header", "Product",
}

const (
	hsts         = "Strict-Transport-Security"
	cacheControl = "Cache-Control"
	csp          = "Content-Security-Policy"
)

// preset returns the headers of the named preset, and the names that it removes. Any name except Strict and API is None.
func preset(name string) (fields []presetField, remove []string) {
	common := []presetField{
		{name: hsts, value: "max-age=31536000; includeSubDomains", keep: mergeHSTS},
		{name: cacheControl, value: "no-store, max-age=0", keep: keepPrivate},
		{name: "Cross-Origin-Resource-Policy", value: "same-origin"},
		{name: "Referrer-Policy", value: "no-referrer"},
		{name: "X-Content-Type-Options", value: "nosniff"},
		{name: "X-Frame-Options", value: "deny"},
		{name: "X-Permitted-Cross-Domain-Policies", value: "none"},
		{name: "X-Xss-Protection", value: "0"},
	}
	switch name {
	case "Strict":
		return append(common,
			presetField{name: csp, keep: keepPolicy, value: "default-src 'self'; form-action 'self'; object-src 'none'; " +
				"frame-ancestors 'none'; upgrade-insecure-requests"},
			presetField{name: "Cross-Origin-Opener-Policy", value: "same-origin", keep: keepNoopener},
			presetField{name: "Cross-Origin-Embedder-Policy", value: "require-corp"},
		), leaks[:]
	case "API":
		return append(common,
			presetField{name: csp, keep: keepPolicy, value: "default-src 'none'; frame-ancestors 'none'"},
		), leaks[:]
	}
	return nil, nil
}

// keepPrivate keeps the app's Cache-Control if it forbids shared caches to store the response.
func keepPrivate(app []string) string {
	if field.HasElement(app, "no-store") || field.HasElement(app, "private") {
		return strings.Join(app, ", ")
	}
	return ""
}

// keepPolicy keeps the app's own policies. Each header line is one policy; a comma joins them (CSP3 §2.2.2).
func keepPolicy(app []string) string {
	var own []string
	for _, line := range app {
		if line = strings.TrimSpace(line); line != "" {
			own = append(own, line)
		}
	}
	return strings.Join(own, ", ")
}

func keepNoopener(app []string) string {
	value, _, _ := strings.Cut(app[0], ";") // report-to is a parameter
	if len(app) == 1 && strings.TrimSpace(value) == "noopener-allow-popups" {
		return app[0]
	}
	return ""
}
