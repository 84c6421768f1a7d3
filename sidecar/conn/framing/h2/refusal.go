package h2

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// violation is why a block, or a connection, is refused; the zero value is none.
type violation uint8

const (
	none violation = iota
	badFieldName
	badFieldValue
	badPseudo
	badPriority
	connectionField
	badLength
	duplicateLength
	badTarget
	badPath
	badHost
	headTooLarge
	// The rest ends the connection.
	badFrame
	frameTooLarge
	badBlock
	// violations is the number of values before it.
	violations
)

// Codes returns the code of every refusal, for a metric that has each of them from the start.
func Codes() []httperr.Code {
	var codes []httperr.Code
	for v := none + 1; v < violations; v++ {
		codes = append(codes, v.refusal().Code)
	}
	return codes
}

// refusal returns what the client is told about v, with the code for the log.
func (v violation) refusal() *httperr.Error {
	status, code, detail := http.StatusBadRequest, httperr.Code("malformed-request"), "The request is malformed."
	switch v {
	case badFieldName:
		code, detail = "malformed-field-name", "A header field's name is not a token in lower case."
	case badFieldValue:
		code, detail = "malformed-field-value", "A header field's value contains a control character."
	case badPseudo:
		code, detail = "malformed-pseudo-field", "A pseudo-header field is missing, unknown, repeated, malformed or after another field."
	case connectionField:
		code, detail = "connection-header", "HTTP/2 does not allow connection-specific headers."
	case badLength:
		code, detail = "malformed-content-length", "The Content-Length is not one decimal number."
	case duplicateLength:
		code, detail = "duplicate-content-length", "The request has several Content-Length fields."
	case badTarget:
		code, detail = "bad-target", "The request target is not a path."
	case badPath:
		code, detail = "bad-path", "The path could be read in more than one way: the path contains an invalid percent-encoding."
	case badHost:
		code, detail = "bad-host", "The host is malformed."
	case headTooLarge:
		status, code, detail = http.StatusRequestHeaderFieldsTooLarge, "head-too-large", "The request's head or trailer is too large."
	case badFrame, frameTooLarge:
		code, detail = "malformed-frame", "A frame with header fields is malformed, too large, or out of order."
	case badBlock:
		code, detail = "malformed-field-block", "The header fields cannot be decoded."
	}
	return &httperr.Error{Status: status, Code: code, Detail: detail}
}

// tokenField tells Refused why a request was refused. A Reader removes it from every block of a client.
const (
	tokenField  = "postern-refused"
	tokenHeader = "Postern-Refused"
)

// Bounds of what is kept of a refused request, in bytes.
const (
	maxMethod = 32
	maxKept   = 1 << 10
	// maxKeptValues bounds the number of fields that choose the form of the response.
	maxKeptValues = 4
)

// appendRefused writes a harmless request that stands for the refused one. It has the fields that choose the form of the response.
func (b *block) appendRefused(v violation) {
	m, target := b.pseudo[method], b.pseudo[path]
	target, _, _ = strings.Cut(target[:min(len(target), maxKept)], "?")
	m = m[:min(len(m), maxMethod)]
	token := strconv.Itoa(int(v)) + " " + hex.EncodeToString([]byte(m)) + " " + hex.EncodeToString([]byte(target))
	if m != http.MethodHead {
		m = http.MethodGet // only HEAD has another form of response
	}
	b.out = appendField(b.out, ":method", m)
	b.out = appendField(b.out, ":scheme", "http")
	b.out = appendField(b.out, ":path", "/")
	b.out = appendField(b.out, tokenField, token)
	kept := 0
	for _, f := range b.fields {
		form := f.Name == "origin" || f.Name == "accept" || f.Name == "content-type"
		if form && kept < maxKeptValues && len(f.Value) <= maxKept && httpguts.ValidHeaderFieldValue(f.Value) {
			kept++
			b.out = appendField(b.out, f.Name, f.Value)
		}
	}
}

// Refused returns why r was refused, and the request for the log as far as it is known: the method, the target without its query as
// the path, and the fields that choose the form of the response. It returns r and nil for a request that was not refused. It is for
// requests from connections that a Reader reads.
func Refused(r *http.Request) (*http.Request, *httperr.Error) {
	token, ok := r.Header[tokenHeader]
	if !ok || r.ProtoMajor != 2 {
		return r, nil
	}
	number, rest, _ := strings.Cut(token[0], " ")
	m, target, _ := strings.Cut(rest, " ")
	v, _ := strconv.Atoi(number) // 0 for an error is malformed-request
	sent := r.WithContext(r.Context())
	sent.Header = r.Header.Clone()
	sent.Header.Del(tokenHeader)
	sent.Method, sent.URL, sent.RequestURI, sent.Body = unhex(m), &url.URL{Path: unhex(target)}, "", http.NoBody
	return sent, violation(v).refusal()
}

func unhex(s string) string {
	b, _ := hex.DecodeString(s) // a Reader wrote it
	return string(b)
}
