// Package strip removes the request headers that only the sidecar may set, so that an app can trust them: the
// identity headers named by the policy, every X-Postern-* and Postern-*, and the headers with which some servers and
// frameworks let a client replace the path that the rules matched (CVE-2018-14773; gunicorn removes SCRIPT_NAME from
// the path, benoitc/gunicorn#2650). It runs for anonymous routes too.
//
// Names are compared as the most lenient app compares them (package field). A header whose name is a variant of a field
// that the sidecar or HTTP relies on, such as Content_Length or Sec.Fetch.Site, is removed as well: CGI and WSGI apps read
// it as the field itself, with a value that nothing has checked. Trailers with these names, and with the
// names of fields that the sidecar or the app relies on, are removed, announced or not.
package strip

import (
	"io"
	"net/http"
	"slices"

	"github.com/posterndev/postern/api/check/fieldset"
	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// stripper holds the compiled names.
type stripper struct {
	// removed are the names removed from the header. noTrailers are those removed from the trailer: the same names, those
	// that the policy relies on, and fieldset.EndToEnd. Variants of noTrailers are removed from the header too.
	removed, noTrailers field.Names
}

// New returns the stage. It removes names and the reserved names. It removes the names in reliedOn from trailers only: clients
// may send these fields in the header, where the policy's rules see them. A name that ends in * is a prefix.
func New(names, reliedOn []string) stage.Stage {
	removed := slices.Concat(names, fieldset.Reserved())
	s := &stripper{
		removed:    field.NewNames(removed...),
		noTrailers: field.NewNames(slices.Concat(removed, reliedOn, fieldset.EndToEnd(), fieldset.HopByHop())...),
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			s.strip(r)
			return next.ServeHTTP(w, r)
		})
	}
}

func (s *stripper) strip(r *http.Request) {
	for name := range r.Header {
		if s.removed.Has(name) || isVariant(name) && s.noTrailers.Has(name) {
			delete(r.Header, name)
		}
	}
	s.cleanTrailer(r)
	if r.ContentLength < 0 && r.Body != nil {
		// Trailers that were not announced appear after the body was read.
		r.Body = &body{ReadCloser: r.Body, atEOF: func() { s.cleanTrailer(r) }}
	}
}

// isVariant reports whether a name has a character that only variants of field names have.
func isVariant(name string) bool {
	for i := range len(name) {
		if c := name[i] | 0x20; ('a' > c || c > 'z') && (name[i] < '0' || name[i] > '9') && name[i] != '-' {
			return true
		}
	}
	return false
}

// cleanTrailer changes the map in place, because net/http fills the same map when the body ends.
func (s *stripper) cleanTrailer(r *http.Request) {
	for name := range r.Trailer {
		if s.noTrailers.Has(name) {
			delete(r.Trailer, name)
		}
	}
}

// body calls atEOF before it returns the end of the body.
type body struct {
	io.ReadCloser
	atEOF func()
}

// Read reads from the client's body.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.atEOF()
	}
	return n, err
}
