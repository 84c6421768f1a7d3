package headers

import (
	"net/http"
	"strings"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/field"
)

// presetField is one header of a preset.
type presetField struct {
	name, value string
	// overHTTPS replaces value for a client that used HTTPS; empty for the same value.
	overHTTPS string
	// stricter returns what to send in place of value, given the header that the app sent, or "" for value. It is nil if the app
	// cannot have a stricter value.
	stricter func(app http.Header) string
	// appDecides says that the app's value is kept.
	appDecides bool
	// always says that every response has value, whatever the app sent.
	always bool
	// lines and linesOverHTTPS are the values as lines, whose length is their capacity.
	lines, linesOverHTTPS []string
}

// choose returns the lines of the field. Responses share them, unless the app has sent a stricter value.
func (p *presetField) choose(app http.Header, secure bool) []string {
	if p.stricter != nil && len(app[p.name]) > 0 {
		if kept := p.stricter(app); kept != "" {
			return []string{kept}
		}
	}
	if secure {
		return p.linesOverHTTPS
	}
	return p.lines
}

const (
	hsts         = "Strict-Transport-Security"
	cacheControl = "Cache-Control"
	csp          = "Content-Security-Policy"
	permissions  = "Permissions-Policy"
)

const (
	strictCSP = "default-src 'self'; form-action 'self'; object-src 'none'; frame-ancestors 'none'"
	// strictPermissions turns off the powerful features of browsers for the page and its frames. It names only features that
	// browsers know: an unknown one is an error in the page's console.
	strictPermissions = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), magnetometer=(), " +
		"microphone=(), midi=(), payment=(), screen-wake-lock=(), serial=(), usb=(), xr-spatial-tracking=()"
)

// preset returns the headers of the named preset, and the names that it removes. Any name except Strict and API is None.
func preset(name string) (fields []presetField, remove []string) {
	common := []presetField{
		{name: hsts, value: "max-age=31536000; includeSubDomains", stricter: mergeHSTS},
		{name: cacheControl, value: "no-store, max-age=0", stricter: keepCaching},
		{name: "Cross-Origin-Resource-Policy", value: "same-origin"},
		{name: "Referrer-Policy", value: "no-referrer"},
		{name: "X-Content-Type-Options", value: "nosniff"},
		{name: "X-Frame-Options", value: "deny"},
		{name: "X-Permitted-Cross-Domain-Policies", value: "none"},
		{name: "X-Xss-Protection", value: "0"},
	}
	switch name {
	case check.PresetStrict:
		return append(common,
			presetField{name: csp, stricter: keepPolicy, value: strictCSP, overHTTPS: strictCSP + "; upgrade-insecure-requests"},
			presetField{name: "Cross-Origin-Opener-Policy", value: "same-origin", stricter: keepNoopener},
			presetField{name: "Cross-Origin-Embedder-Policy", value: "require-corp"},
			presetField{name: permissions, stricter: keepPermissions, value: strictPermissions},
		), leaks()
	case check.PresetAPI:
		return append(common,
			presetField{name: csp, stricter: keepPolicy, value: "default-src 'none'; frame-ancestors 'none'"},
		), leaks()
	}
	return nil, nil
}

// keepCaching keeps the app's Cache-Control if it forbids shared caches to store the response, or calls the response immutable
// (RFC 8246) without setting a cookie.
func keepCaching(app http.Header) string {
	lines := app[cacheControl]
	private := field.HasElement(lines, "no-store") || field.HasElement(lines, "private")
	if private || field.HasElement(lines, "immutable") && len(app["Set-Cookie"]) == 0 {
		return strings.Join(lines, ", ")
	}
	return ""
}

// keepPolicy keeps the app's own policies. Each header line is one policy; a comma joins them (CSP3 §2.2.2).
func keepPolicy(app http.Header) string { return joined(app[csp]) }

// keepPermissions keeps the app's own policy (a dictionary, RFC 9651 §3.2, whose lines a comma joins).
func keepPermissions(app http.Header) string { return joined(app[permissions]) }

func joined(lines []string) string {
	var own []string
	for _, line := range lines {
		if line = strings.TrimSpace(line); line != "" {
			own = append(own, line)
		}
	}
	return strings.Join(own, ", ")
}

func keepNoopener(app http.Header) string {
	lines := app["Cross-Origin-Opener-Policy"]
	value, _, _ := strings.Cut(lines[0], ";") // report-to is a parameter
	if len(lines) == 1 && strings.TrimSpace(value) == "noopener-allow-popups" {
		return lines[0]
	}
	return ""
}
