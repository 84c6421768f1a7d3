package certs

import (
	"context"

	"github.com/posterndev/postern/controllers/contextlog"
)

// outage logs an error that is tried again when it begins or changes, and its end: not once for each attempt.
type outage struct {
	// what is the message about the error, and ended the one about its end.
	what, ended string
	// kind is the kind of a watched object; empty if it is about no watch.
	kind string
	told string
}

// observe takes the outcome of an attempt. An attempt that the end of ctx interrupted says nothing.
func (o *outage) observe(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	var attrs []any
	if o.kind != "" {
		attrs = append(attrs, "kind", o.kind)
	}
	switch {
	case err == nil && o.told != "":
		contextlog.From(ctx).Info(o.ended, attrs...)
		o.told = ""
	case err != nil && err.Error() != o.told:
		contextlog.From(ctx).Error(o.what, append(attrs, "error", err)...)
		o.told = err.Error()
	}
}
