package differential

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// refusals are what the sidecar says about the requests that it refuses: the status and the details by code.
var refusals = map[string]struct {
	status  int
	details []string
}{
	"malformed-request-line":    {400, []string{"The request line is not METHOD SP TARGET SP HTTP/1.1 CR LF."}},
	"malformed-field-name":      {400, []string{"A header field's name is not a token."}},
	"malformed-field-value":     {400, []string{"A header field's value contains a control character."}},
	"space-before-colon":        {400, []string{"A header field has whitespace before its colon."}},
	"folded-field":              {400, []string{"A header field is folded over several lines."}},
	"bare-line-end":             {400, []string{"A line does not end in CR LF."}},
	"missing-host":              {400, []string{"The request has no Host field."}},
	"duplicate-host":            {400, []string{"The request has several Host fields."}},
	"bad-host":                  {400, []string{"The host is malformed."}},
	"bad-method":                {400, []string{"The method is malformed."}},
	"bad-target":                {400, []string{"The request target is not a path."}},
	"malformed-content-length":  {400, []string{"The Content-Length is not one decimal number."}},
	"duplicate-content-length":  {400, []string{"The request has several Content-Length fields."}},
	"transfer-encoding":         {400, []string{`The Transfer-Encoding is not exactly one "chunked".`}},
	"length-and-coding":         {400, []string{"The request has both Content-Length and Transfer-Encoding."}},
	"coding-before-11":          {400, []string{"An HTTP/1.0 request has a Transfer-Encoding."}},
	"malformed-chunk-size":      {400, []string{"A chunk's size is not a short hexadecimal number."}},
	"malformed-chunk-extension": {400, []string{"A chunk's extension is malformed or too long."}},
	"malformed-chunk-end":       {400, []string{"A chunk's data does not end in CR LF."}},
	"forbidden-trailer":         {400, []string{"The trailer contains, or the Trailer field announces, a field that frames or routes the request."}},
	"bad-path": {400, prefixed("The path could be read in more than one way: the path ", "contains a fragment.", "contains a backslash.",
		"contains an encoded slash.", "contains an invalid percent-encoding.", "is not valid UTF-8.", "contains a semicolon.",
		"does not begin with /.", "is percent-encoded twice.", "contains a . or .. segment.", "contains a control character.",
		"contains an empty segment.")},
	"method-not-allowed": {405, []string{"This method is not allowed."}},
	"expectation":        {417, []string{`The Expect field is not exactly one "100-continue".`}},
	"too-many-fields":    {431, []string{"The request has too many header fields."}},
	"head-too-large":     {431, []string{"The request's head or trailer is too large."}},
	"http-version":       {505, []string{"Only HTTP/1.0, HTTP/1.1 and HTTP/2 are served."}},
}

func prefixed(prefix string, details ...string) (all []string) {
	for _, d := range details {
		all = append(all, prefix+d)
	}
	return all
}

// isRefusal reports whether r is exactly what the sidecar says about a request that it refuses.
func isRefusal(r response) bool {
	for code, refusal := range refusals {
		for _, detail := range refusal.details {
			if isProblem(r, refusal.status, code, detail) {
				return true
			}
		}
	}
	return false
}

// isProblem reports whether r is exactly the response with a problem document: JSON, or a page for a client that asks for one.
func isProblem(r response, status int, code, detail string) bool {
	title, reason := http.StatusText(status), http.StatusText(status)
	if title == "" {
		reason = "status code " + strconv.Itoa(status)
	}
	if _, rest, _ := strings.Cut(r.line, " "); rest != strconv.Itoa(status)+" "+reason || r.cut || len(r.trailer) > 0 {
		return false
	}
	fields := []string{"Date: now", "X-Content-Type-Options: nosniff", "X-Request-Id: "}
	if status == http.StatusMethodNotAllowed {
		fields = append(fields, "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	}
	page := strings.HasPrefix(r.body, "<!doctype html>")
	quoted := strings.ReplaceAll(detail, `"`, `\"`)
	body := `{"type":"https://postern.dev/problems/` + code + `","title":"` + title + `","status":` + strconv.Itoa(status) + `,"detail":"` + quoted + `","request_id":""}`
	switch {
	case page && strings.Contains(r.body, strings.NewReplacer(`"`, "&#34;", "'", "&#39;").Replace(detail)):
		fields = append(fields, "Content-Type: text/html; charset=utf-8")
	case r.body == body || r.body == "":
		fields = append(fields, "Content-Type: application/problem+json")
	default:
		return false
	}
	got := slices.DeleteFunc(slices.Clone(r.fields), func(f string) bool {
		return f == "Connection: close" || f == "Connection: keep-alive" || strings.HasPrefix(f, "Content-Length: ")
	})
	slices.Sort(fields)
	return slices.Equal(got, fields)
}
