// Package httperr writes refusals to the client: as problem details (RFC 9457), as HTML if a browser asks for it, or as a gRPC status.
// The client sees the public text; the log has the cause.
package httperr

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"
)

// Code is a stable name of a refusal, in lower case with hyphens. It is the problem's type, a metric's label and a
// log field, so it never contains input.
type Code string

// Error refuses a request. The client reads Detail, which never contains a token, a claim or raw input.
type Error struct {
	// Status is the HTTP status code.
	Status int
	Code   Code
	// Detail is a sentence for the client.
	Detail string
	// Header is added to the response (WWW-Authenticate, Retry-After …).
	Header http.Header
	// Errors says which fields of the request are wrong; nil for none. Like Detail, it never contains raw input.
	Errors []FieldError
	// Cause is only for the log.
	Cause error
}

// FieldError is a member of the extension "errors" of a problem (RFC 9457 §3.2).
type FieldError struct {
	// Field is the name of the field, as the policy writes it.
	Field string `json:"field"`
	// Code is the stable name of the rule. It is no Code, and docs/problems.md does not list it.
	Code string `json:"code"`
	// Detail is a sentence for the client.
	Detail string `json:"detail"`
}

// Error returns the text for the log: the code, and the cause if there is one.
func (e *Error) Error() string {
	if e.Cause == nil {
		return string(e.Code) + ": " + e.Detail
	}
	return string(e.Code) + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// With returns e with one more header field for the response.
func (e *Error) With(name, value string) *Error {
	if e.Header == nil {
		e.Header = http.Header{}
	}
	e.Header.Add(name, value)
	return e
}

// MethodNotAllowed returns the refusal of a method that no app gets: CONNECT and TRACE. A 405 needs the field Allow, RFC 9110 §15.5.6.
func MethodNotAllowed() *Error {
	e := &Error{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Detail: "This method is not allowed."}
	return e.With("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
}

// From returns err's *Error, or an internal error that hides err from the client.
func From(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Status: http.StatusInternalServerError, Code: "internal", Detail: "The request could not be processed.", Cause: err}
}

// problem is the body, RFC 9457 §3.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`

	Errors []FieldError `json:"errors,omitempty"`
	// RequestID is an extension member (RFC 9457 §3.2): the request's id in the logs.
	RequestID string `json:"request_id,omitempty"`
}

// TypePrefix comes before a Code in a problem's type. The page at that address lists every code.
const TypePrefix = "https://postern.dev/problems/"

// Write writes err as the response to a request without an id.
func Write(w http.ResponseWriter, r *http.Request, err error) { WriteWith(w, r, err, "") }

// WriteWith writes err as the response to r, to a call of gRPC as its status. It must be called before anything else was written to w.
// requestID is in the body if it is not empty.
func WriteWith(w http.ResponseWriter, r *http.Request, err error, requestID string) {
	e := From(err)
	p := problem{
		Type: TypePrefix + string(e.Code), Title: http.StatusText(e.Status), Status: e.Status, Detail: e.Detail, Errors: e.Errors, RequestID: requestID,
	}
	for name, values := range e.Header {
		w.Header()[name] = values
	}
	if contentType := grpcType(r); contentType != "" {
		writeGRPC(w, contentType, e)
		return
	}
	body, contentType := render(p, PrefersHTML(r.Header.Get("Accept")))
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(e.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // on an error the client has disconnected
	}
}

func render(p problem, asHTML bool) (body []byte, contentType string) {
	if asHTML {
		return []byte(p.page()), "text/html; charset=utf-8"
	}
	body, err := json.Marshal(p)
	if err != nil {
		return []byte(`{}`), "application/problem+json"
	}
	return body, "application/problem+json"
}

// page returns the problem as HTML. It uses no template: packages text/template and html/template call methods by their names, and then the linker has to
// keep every exported method of every type in the binary. Every value stands between tags, where html.EscapeString is enough.
func (p problem) page() string {
	var b strings.Builder
	title, detail := html.EscapeString(p.Title), html.EscapeString(p.Detail)
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>%d %s</title>\n<body><h1>%s</h1><p>%s</p>", p.Status, title, title, detail)
	if len(p.Errors) > 0 {
		b.WriteString("<ul>")
		for _, e := range p.Errors {
			b.WriteString("<li>" + html.EscapeString(e.Detail) + "</li>")
		}
		b.WriteString("</ul>")
	}
	if p.RequestID != "" {
		b.WriteString("<p>Request ID: <code>" + html.EscapeString(p.RequestID) + "</code></p>")
	}
	b.WriteString("</body></html>\n")
	return b.String()
}

// PrefersHTML reports whether HTML comes before any JSON in the list, as in browser navigation. It ignores quality
// values: an API client names JSON first, or nothing.
func PrefersHTML(accept string) bool {
	html := strings.Index(accept, "text/html")
	if html < 0 {
		return false
	}
	js := strings.Index(accept, "json")
	return js < 0 || html < js
}
