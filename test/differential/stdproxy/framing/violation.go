package framing

import (
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// violation is why a connection's bytes are refused; the zero value is none.
type violation uint8

const (
	none violation = iota
	badRequestLine
	badVersion
	badFieldName
	spaceBeforeColon
	obsoleteFold
	badFieldValue
	bareLineEnd
	headTooLarge
	tooManyFields
	missingHost
	duplicateHost
	badLength
	duplicateLength
	badCoding
	lengthAndCoding
	codingBefore11
	badChunkSize
	badChunkExtension
	badChunkEnd
	forbiddenTrailer
	badTarget
	badEscape
	badHost
	connectMethod
	badExpectation
)

// refusal returns what the client is told about v, with the code for the log.
func (v violation) refusal() *httperr.Error {
	status, code, detail := http.StatusBadRequest, httperr.Code("malformed-request"), "The request is malformed."
	switch v {
	case connectMethod:
		return httperr.MethodNotAllowed()
	case badExpectation:
		status, code, detail = http.StatusExpectationFailed, "expectation", "The Expect field is not exactly one \"100-continue\"."
	case badRequestLine:
		code, detail = "malformed-request-line", "The request line is not METHOD SP TARGET SP HTTP/1.1 CR LF."
	case badVersion:
		status, code, detail = http.StatusHTTPVersionNotSupported, "http-version", "Only HTTP/1.0, HTTP/1.1 and HTTP/2 are served."
	case badFieldName:
		code, detail = "malformed-field-name", "A header field's name is not a token."
	case spaceBeforeColon:
		code, detail = "space-before-colon", "A header field has whitespace before its colon."
	case obsoleteFold:
		code, detail = "folded-field", "A header field is folded over several lines."
	case badFieldValue:
		code, detail = "malformed-field-value", "A header field's value contains a control character."
	case bareLineEnd:
		code, detail = "bare-line-end", "A line does not end in CR LF."
	case headTooLarge:
		status, code, detail = http.StatusRequestHeaderFieldsTooLarge, "head-too-large", "The request's head or trailer is too large."
	case tooManyFields:
		status, code, detail = http.StatusRequestHeaderFieldsTooLarge, "too-many-fields", "The request has too many header fields."
	case missingHost:
		code, detail = "missing-host", "The request has no Host field."
	case duplicateHost:
		code, detail = "duplicate-host", "The request has several Host fields."
	case badLength, duplicateLength, badCoding, lengthAndCoding, codingBefore11:
		code, detail = v.lengthRefusal()
	case badChunkSize:
		code, detail = "malformed-chunk-size", "A chunk's size is not a short hexadecimal number."
	case badChunkExtension:
		code, detail = "malformed-chunk-extension", "A chunk's extension is malformed or too long."
	case badChunkEnd:
		code, detail = "malformed-chunk-end", "A chunk's data does not end in CR LF."
	case badTarget:
		code, detail = "bad-target", "The request target is not a path."
	case badEscape:
		code, detail = "bad-path", "The path could be read in more than one way: the path contains an invalid percent-encoding."
	case badHost:
		code, detail = "bad-host", "The host is malformed."
	case forbiddenTrailer:
		code, detail = "forbidden-trailer", "The trailer contains, or the Trailer field announces, a field that frames or routes the request."
	}
	return &httperr.Error{Status: status, Code: code, Detail: detail}
}

// lengthRefusal distinguishes the ways in which a request's length is ambiguous, RFC 9112 §6.3.
func (v violation) lengthRefusal() (httperr.Code, string) {
	switch v {
	case badLength:
		return "malformed-content-length", "The Content-Length is not one decimal number."
	case duplicateLength:
		return "duplicate-content-length", "The request has several Content-Length fields."
	case badCoding:
		return "transfer-encoding", "The Transfer-Encoding is not exactly one \"chunked\"."
	case lengthAndCoding:
		return "length-and-coding", "The request has both Content-Length and Transfer-Encoding."
	default:
		return "coding-before-11", "An HTTP/1.0 request has a Transfer-Encoding."
	}
}
