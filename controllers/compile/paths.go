package compile

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

func paths(in *v1alpha1.Paths) *compiled.Paths {
	if in == nil {
		return nil
	}
	p := &compiled.Paths{Options: pathOptions(&in.PathOptions), CaseInsensitive: in.CaseInsensitive}
	for i := range in.Routes {
		p.Routes = append(p.Routes, compiled.PathRoute{Prefix: in.Routes[i].Prefix, Options: pathOptions(&in.Routes[i].PathOptions)})
	}
	return p
}

func pathOptions(in *v1alpha1.PathOptions) compiled.PathOptions {
	return compiled.PathOptions{
		EncodedSlash: compiled.PathHandling(in.EncodedSlash), Semicolon: compiled.PathHandling(in.Semicolon), Backslash: compiled.PathHandling(in.Backslash),
		DoubleEncoding: compiled.PathHandling(in.DoubleEncoding), EmptySegments: compiled.PathHandling(in.EmptySegments),
	}
}
