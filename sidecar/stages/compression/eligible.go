package compression

import (
	"net/http"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// eligible reports whether the response may be encoded if the client accepts it and it is long enough.
func (p *policy) eligible(r *http.Request, info *request.Info, status int, h http.Header) bool {
	if status < 200 || status == http.StatusNoContent || status == http.StatusPartialContent || status == http.StatusNotModified {
		return false
	}
	return len(h["Content-Range"]) == 0 && p.varies(r, info, h)
}

// varies reports whether the complete response with these fields depends on Accept-Encoding.
func (p *policy) varies(r *http.Request, info *request.Info, h http.Header) bool {
	if len(h["Content-Encoding"]) > 0 || len(h["Content-Type"]) != 1 {
		return false
	}
	if field.HasElement(h["Cache-Control"], "no-transform") || hasDigest(h) {
		return false
	}
	t := mediaType(h["Content-Type"][0])
	return p.types.has(t) && !strings.HasPrefix(t, "application/grpc") && !sensitive(r, info, t, h)
}

// varies304 reports whether the response that a 304 confirms may depend on Accept-Encoding. Most have no Content-Type (RFC 9110
// §15.4.5), so that the type is unknown.
func (p *policy) varies304(r *http.Request, info *request.Info, h http.Header) bool {
	if len(h["Content-Type"]) > 0 {
		return p.varies(r, info, h)
	}
	return len(h["Content-Encoding"]) == 0 && !field.HasElement(h["Cache-Control"], "no-transform") && !hasDigest(h) && !info.Sensitive
}

// hasDigest reports whether the response has a digest of the body's bytes.
func hasDigest(h http.Header) bool {
	for _, name := range [...]string{"Content-Digest", "Repr-Digest", "Digest", "Content-Md5"} {
		if len(h[name]) > 0 {
			return true
		}
	}
	return false
}

// sensitive reports whether the response may contain credentials.
func sensitive(r *http.Request, info *request.Info, mediaType string, h http.Header) bool {
	if info.Sensitive || len(h["Set-Cookie"]) > 0 {
		return true
	}
	_, subtype, _ := strings.Cut(mediaType, "/")
	if subtype == "jwt" || strings.HasSuffix(subtype, "+jwt") || strings.HasPrefix(subtype, "jose") {
		return true
	}
	return r.Method == http.MethodPost && field.HasElement(h["Cache-Control"], "no-store")
}
