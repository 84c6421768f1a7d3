package headers

import (
	"cmp"
	"net/http"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// fields are compiled Rules.
type fields struct {
	preset []presetField
	// remove are deleted, except those in keep.
	remove, keep field.Names
	// prune is true if remove is not empty. first says that the app's fields may be removed before the preset is applied, which makes no difference
	// and less work: none of them is of the preset, or decides about it.
	prune, first bool
	set          []setField
}

// setField is a field with its lines, which all responses share: their length is their capacity, so that appending makes a copy.
type setField struct {
	name  string
	lines []string
}

func newFields(r Rules) fields {
	added, leaks := preset(r.Preset)
	omit, keep := field.NewNames(r.Omit...), field.NewNames(r.Keep...)
	f := fields{keep: keep}
	for _, p := range added {
		if !omit.Has(p.name) {
			p.appDecides, p.lines, p.linesOverHTTPS = keep.Has(p.name), []string{p.value}, []string{cmp.Or(p.overHTTPS, p.value)}
			p.always = !p.appDecides && p.stricter == nil && p.overHTTPS == "" && p.name != hsts && p.name != cacheControl
			f.preset = append(f.preset, p)
		}
	}
	for _, s := range r.Set {
		f.set = append(f.set, setField{name: http.CanonicalHeaderKey(s.Name), lines: []string{s.Value}})
	}
	names := append(leaks, r.Remove...)
	f.remove, f.prune = field.NewNames(names...), len(names) > 0
	f.first = !f.removes("Set-Cookie") // keepCaching reads it
	for i := range f.preset {
		f.first = f.first && !f.removes(f.preset[i].name)
	}
	return f
}

func (f *fields) removes(name string) bool { return f.remove.Has(name) && !f.keep.Has(name) }

// apply changes the header of a response.
func (f *fields) apply(info *request.Info, h http.Header) {
	if f.prune && f.first {
		f.clean(h)
	}
	secure := info.Scheme == "https"
	for i := range f.preset {
		if p := &f.preset[i]; p.always {
			h[p.name] = p.lines
		} else {
			p.apply(info, secure, h)
		}
	}
	if f.prune && !f.first {
		f.clean(h)
	}
	for i := range f.set {
		if s := &f.set[i]; s.name != hsts || info.Scheme != "http" {
			h[s.name] = s.lines
		}
	}
}

func (f *fields) clean(h http.Header) {
	for name := range h {
		if f.removes(name) {
			delete(h, name)
		}
	}
}

func (p *presetField) apply(info *request.Info, secure bool, h http.Header) {
	app := h[p.name]
	switch {
	case p.name == hsts && info.Scheme == "http":
		delete(h, hsts) // RFC 6797 §7.2
		return
	case info.Public && p.name == cacheControl, p.appDecides && len(app) > 0, p.name == hsts && !secure:
		return
	}
	h[p.name] = p.choose(h, secure)
}

// leaks are the headers that the presets remove.
func leaks() []string { return check.LeakHeaders() }
