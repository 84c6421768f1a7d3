package chain

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/guard"
)

// guard also has the path options of a deleted policy: its app still needs the paths.
func (b *builder) guard() stage.Stage {
	p := b.policy.Paths
	if p == nil {
		return guard.New(guard.Config{})
	}
	var routes []route.Route
	for i := range p.Routes {
		routes = append(routes, route.Route{Prefix: p.Routes[i].Prefix, Options: pathOptions(&p.Routes[i].Options)})
	}
	options := pathOptions(&p.Options)
	options.IgnoreCase = p.CaseInsensitive
	reader, err := route.NewReader(options, routes)
	b.fail(err, "paths")
	return guard.New(guard.Config{Paths: reader})
}

func pathOptions(o *compiled.PathOptions) route.Options {
	return route.Options{
		EncodedSlash: o.EncodedSlash == compiled.PathKeep, Semicolon: o.Semicolon == compiled.PathKeep, Backslash: o.Backslash == compiled.PathKeep,
		DoubleEncoding: o.DoubleEncoding == compiled.PathKeep, EmptySegments: route.EmptySegments(o.EmptySegments),
	}
}
