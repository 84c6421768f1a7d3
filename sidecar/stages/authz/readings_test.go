package authz

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// TestReadings: a request passes only if the rule of every reading of its path lets it pass.
func TestReadings(t *testing.T) {
	build, err := New(Config{
		Default: Authenticated,
		Rules: []Rule{
			{Name: "own", Match: matcher(t, route.Match{Paths: []string{"/auth/logout"}}), Require: Anonymous, Exact: true},
			{Name: "admin", Match: matcher(t, route.Match{Paths: []string{"/admin/**"}}), Require: Deny},
			{Name: "trial", Match: matcher(t, route.Match{Paths: []string{"/public/trial/**"}}), Require: Deny, Shadow: true},
			{Name: "public", Match: matcher(t, route.Match{Paths: []string{"/public/**", "/*"}}), Require: Anonymous},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	keep := route.Options{EncodedSlash: true, Semicolon: true, Backslash: true, DoubleEncoding: true}
	folded := route.Options{IgnoreCase: true}
	tests := map[string]struct {
		options   route.Options
		path      string
		anonymous bool // sent without an identity
		want      httperr.Code
		decisions int
	}{
		"an encoded slash":                       {keep, "/admin%2Fusers", false, "access-denied", 1},
		"the default of another reading":         {keep, "/orders%2F1", true, "no-credentials", 1},
		"both readings are public":               {keep, "/public/a%2Fb", true, "", 0},
		"the first reading closes":               {keep, "/admin/x%2Fy", false, "access-denied", 1},
		"a path parameter":                       {keep, "/admin;x/users", false, "access-denied", 1},
		"a segment of parameters":                {keep, "/;x/admin/users", false, "access-denied", 1},
		"a backslash":                            {keep, `/admin\users`, false, "access-denied", 1},
		"a slash that is encoded twice":          {keep, "/admin%252Fusers", false, "access-denied", 1},
		"a letter that is encoded twice":         {keep, "/%2561dmin/x", false, "access-denied", 1},
		"empty segments":                         {route.Options{}, "//admin//users", false, "access-denied", 1},
		"empty segments are one segment for * ":  {route.Options{}, "/public//x", true, "", 0},
		"Deny before Authenticated":              {keep, "/orders/1;x/..y%2Fadmin", true, "no-credentials", 1},
		"a shadow rule of one reading":           {keep, "/public/trial%2Fx", true, "", 1},
		"another case":                           {folded, "/ADMIN/users", false, "access-denied", 1},
		"another case, with regard to it":        {route.Options{}, "/ADMIN/users", true, "no-credentials", 1},
		"the sidecar's own path":                 {folded, "/auth/logout", true, "", 0},
		"the own path in another case":           {folded, "/AUTH/logout", true, "no-credentials", 1},
		"the own path with an empty segment":     {route.Options{}, "//auth/logout", true, "no-credentials", 1},
		"the own path with two trailing slashes": {route.Options{}, "/auth/logout//", true, "no-credentials", 1},
		"the own path with a parameter":          {keep, "/auth/logout;x", true, "no-credentials", 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			reader, err := route.NewReader(tt.options, nil)
			if err != nil {
				t.Fatal(err)
			}
			path, err := reader.Read(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			info := &request.Info{Path: path.Path, Readings: path.Target}
			if !tt.anonymous {
				info.Identity = &identity.Identity{Subject: "alice"}
			}
			h := build(stage.Func(func(http.ResponseWriter, *http.Request) error { return nil }))
			err = h.ServeHTTP(httptest.NewRecorder(), request.With(httptest.NewRequest("GET", "/", nil), info))
			var got *httperr.Error
			errors.As(err, &got)
			if (got == nil) != (tt.want == "") || got != nil && got.Code != tt.want || len(info.Decisions) != tt.decisions {
				t.Errorf("%q: %v with %+v; want %q and %d decisions", tt.path, err, info.Decisions, tt.want, tt.decisions)
			}
		})
	}
}
