package guard

import (
	"net/http"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
)

// checkTarget normalizes the request target.
func checkTarget(r *http.Request, info *request.Info, paths *route.Reader) *httperr.Error {
	u := r.URL
	if u.User != nil || u.Opaque != "" || (u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https") {
		return refuse("bad-target", "The request target is not a path.", nil)
	}
	if u.Scheme != "" && u.Host == "" {
		return refuse("bad-target", "The request target names no host.", nil) // http:///x, RFC 9110 §4.2.1
	}
	if strings.Contains(u.RawQuery, " ") {
		// Only HTTP/2 can carry a space here; in an HTTP/1.1 request line it ends the target (RFC 9112 §3).
		return refuse("bad-target", "The query contains a space.", nil)
	}
	u.RawQuery = encodeQuery(u.RawQuery)
	if u.Path == "*" && r.Method == http.MethodOptions {
		info.Path = "*" // the server as a whole (RFC 9112 §3.2.4); no path pattern matches it
		return nil
	}
	sent := u.RawPath // the bytes as sent, if net/url would encode Path differently
	if sent == "" {
		sent = u.EscapedPath()
	}
	if sent == "" && u.Host != "" {
		sent = "/" // http://example.com, RFC 9110 §4.2.3
	}
	path, err := paths.Read(sent)
	if err != nil {
		return refuse("bad-path", "The path could be read in more than one way: "+err.Error()+".", err)
	}
	info.Path, info.Readings = path.Path, path.Target
	u.Scheme, u.Host, u.Path, u.RawPath = "", "", path.Decoded, path.Forward
	return nil
}

// encodeQuery encodes the bytes of a query that no URI may have unencoded and that apps read differently: those above ASCII, control
// characters, and #, where some apps truncate the query (RFC 3986 §2.1, §3.4). It leaves every other byte as it is.
func encodeQuery(query string) string {
	raw := func(c byte) bool { return c >= 0x7f || c <= ' ' || c == '#' }
	i := 0
	for i < len(query) && !raw(query[i]) {
		i++
	}
	if i == len(query) {
		return query
	}
	const digits = "0123456789ABCDEF"
	out := append(make([]byte, 0, len(query)+16), query[:i]...)
	for ; i < len(query); i++ {
		if c := query[i]; raw(c) {
			out = append(out, '%', digits[c>>4], digits[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}
