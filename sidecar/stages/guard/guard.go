// Package guard is the first stage. It refuses requests that two parsers could read as different requests, and
// normalizes all others. It protects the protocol and is no rule of the policy, so shadow mode does not change it.
//
// It refuses an invalid target, method or field with 400, and the methods CONNECT and TRACE with 405. After this
// stage, Info.Target is the decoded path that rules match, and r.URL encodes to the same path. r.URL is in origin form.
//
// net/http has already handled several Host fields in HTTP/1.1, a Host field with an absolute-form target (the target wins,
// RFC 9112 §3.2.2), control characters in fields, and invalid framing.
package guard

import (
	"net/http"
	"strings"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// allow is the Allow field of a 405 response, which RFC 9110 §15.5.6 requires.
const allow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// Config configures the stage.
type Config struct {
	// Paths says which paths pass; nil for those without ambiguous characters.
	Paths *route.Reader
}

// New returns the stage.
func New(c Config) stage.Stage {
	if c.Paths == nil {
		c.Paths = &route.Reader{}
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			info := request.From(r)
			if err := judge(r, info, c.Paths); err != nil {
				info.Decide(request.Decision{Stage: "guard", Rule: string(err.Code), Err: err})
				return err
			}
			return next.ServeHTTP(w, r)
		})
	}
}

func judge(r *http.Request, info *request.Info, paths *route.Reader) *httperr.Error {
	if err := checkMethod(r.Method); err != nil {
		return err
	}
	if err := checkFields(r); err != nil {
		return err
	}
	return checkTarget(r, info, paths)
}

func checkMethod(method string) *httperr.Error {
	switch {
	case method == http.MethodConnect || method == http.MethodTrace:
		// CONNECT would open a tunnel that no rule inspects; TRACE echoes credentials.
		err := &httperr.Error{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Detail: "This method is not allowed."}
		return err.With("Allow", allow)
	case !check.IsMethod(method):
		return refuse("bad-method", "The method is malformed.", nil)
	}
	return nil
}

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

// refuse returns a 400 error. detail never contains input.
func refuse(code httperr.Code, detail string, cause error) *httperr.Error {
	return &httperr.Error{Status: http.StatusBadRequest, Code: code, Detail: detail, Cause: cause}
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

// checkFields refuses fields that contradict the protocol.
func checkFields(r *http.Request) *httperr.Error {
	if hosts, ok := r.Header["Host"]; ok {
		// HTTP/1.1 moves Host out of the header; HTTP/2 leaves it in addition to :authority (RFC 9113 §8.3.1).
		if len(hosts) != 1 || !strings.EqualFold(hosts[0], r.Host) {
			return refuse("bad-host", "The request names more than one host.", nil)
		}
		delete(r.Header, "Host")
	}
	if strings.ContainsAny(r.Host, ", /?#@\\") {
		return refuse("bad-host", "The host is malformed.", nil) // RFC 9110 §7.2: uri-host with an optional port
	}
	if r.ProtoMajor >= 2 {
		return checkHTTP2(r.Header)
	}
	return nil
}

// connectionFields have no meaning in HTTP/2 and make a request malformed (RFC 9113 §8.2.2). Passed on to HTTP/1.1,
// they allow request smuggling.
var connectionFields = [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"}

func checkHTTP2(h http.Header) *httperr.Error {
	for _, name := range connectionFields {
		if _, ok := h[name]; ok {
			return refuse("connection-header", "HTTP/2 does not allow connection-specific headers.", nil)
		}
	}
	switch lengths := h["Content-Length"]; {
	case len(lengths) > 1:
		// net/http takes the first (RFC 9110 §8.6).
		return refuse("duplicate-content-length", "The request has several Content-Length fields.", nil)
	case len(lengths) == 1 && !isDecimal(lengths[0]):
		return refuse("malformed-content-length", "The Content-Length is not one decimal number.", nil)
	}
	for _, te := range h["Te"] {
		if !strings.EqualFold(strings.TrimSpace(te), "trailers") {
			return refuse("connection-header", "HTTP/2 allows TE only with the value trailers.", nil)
		}
	}
	return nil
}

func isDecimal(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
