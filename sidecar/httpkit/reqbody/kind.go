package reqbody

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/posterndev/postern/api/check/strictjson"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// kind is the format of a body.
type kind int

const (
	other kind = iota
	form
	jsonObject
)

// kindOf reads the fields that describe a body. An app may use another field or another line than this function, so
// everything ambiguous is refused.
func kindOf(h http.Header) (kind, *httperr.Error) {
	for _, line := range h["Content-Encoding"] {
		if !strings.EqualFold(strings.TrimSpace(line), "identity") {
			return other, unsupported("The request body is compressed.")
		}
	}
	if len(h["Content-Type"]) != 1 {
		return other, unsupported("The request has no Content-Type, or more than one.")
	}
	mediaType, parameters, err := mime.ParseMediaType(h["Content-Type"][0])
	if err != nil {
		return other, unsupported("The Content-Type is malformed.")
	}
	if charset, ok := parameters["charset"]; ok && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "us-ascii") {
		return other, unsupported("The charset is not UTF-8.")
	}
	switch {
	case mediaType == "application/x-www-form-urlencoded":
		return form, nil
	case mediaType == "application/json", strings.HasSuffix(mediaType, "+json"):
		return jsonObject, nil
	}
	return other, unsupported("The Content-Type is neither application/x-www-form-urlencoded nor application/json.")
}

// IsForm reports whether the body is a form by its Content-Type.
func (b *Body) IsForm() bool { return b.kind == form }

// Form returns the parameters. An empty body has none. A body that is not a form is refused.
func (b *Body) Form() (url.Values, error) {
	if b.isEmpty() {
		return nil, nil
	}
	if b.kind != form {
		return nil, b.notA("The Content-Type is not application/x-www-form-urlencoded.")
	}
	b.parse()
	if b.parseErr != nil {
		return nil, b.parseErr
	}
	return b.form, nil
}

// Object returns the JSON object, whose numbers are json.Number. An empty body is malformed. A body that is not JSON
// is refused.
func (b *Body) Object() (map[string]any, error) {
	if b.kind != jsonObject {
		return nil, b.notA("The Content-Type is not application/json.")
	}
	b.parse()
	if b.parseErr != nil {
		return nil, b.parseErr
	}
	return b.object, nil
}

// notA returns why the body has another kind than the wanted one.
func (b *Body) notA(detail string) *httperr.Error {
	if b.kindErr != nil {
		return b.kindErr
	}
	return unsupported(detail)
}

// parse parses the body once.
func (b *Body) parse() {
	if b.parsed {
		return
	}
	b.parsed = true
	if b.kind == form {
		b.form, b.parseErr = parseForm(b.raw, b.limits.Fields)
		return
	}
	b.object, b.parseErr = parseJSON(b.raw, b.limits)
}

// parseForm refuses a semicolon between parameters, as net/url does: some apps split parameters there, and some do
// not.
func parseForm(raw []byte, fields int) (url.Values, *httperr.Error) {
	if bytes.Count(raw, []byte("&")) >= fields {
		return nil, malformed("The form has too many parameters.", nil)
	}
	values, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, malformed("The form is malformed.", errors.New("parsing form: malformed")) // err contains input
	}
	return values, nil
}

func parseJSON(raw []byte, limits Limits) (map[string]any, *httperr.Error) {
	object, err := strictjson.ObjectWithin(raw, strictjson.Limits{Depth: limits.Depth, Values: limits.Fields})
	switch {
	case err == nil:
		return object, nil
	case errors.Is(err, strictjson.ErrDepth):
		return nil, malformed(fmt.Sprintf("The JSON has more than %d levels.", limits.Depth), err)
	case errors.Is(err, strictjson.ErrValues):
		return nil, malformed(fmt.Sprintf("The JSON has more than %d members and elements.", limits.Fields), err)
	case errors.Is(err, strictjson.ErrSurrogate):
		return nil, malformed(`The JSON has a lone surrogate, such as \ud800, in a text.`, err)
	}
	return nil, malformed("The body is not one JSON object without repeated members.", err)
}

func unsupported(detail string) *httperr.Error {
	return &httperr.Error{Status: http.StatusUnsupportedMediaType, Code: "unsupported-body", Detail: detail}
}

func malformed(detail string, cause error) *httperr.Error {
	return &httperr.Error{Status: http.StatusBadRequest, Code: "malformed-body", Detail: detail, Cause: cause}
}

// IsJSON reports whether the header describes a body that Read takes for JSON: of that one Content-Type, in UTF-8, and not encoded.
func IsJSON(h http.Header) bool {
	k, err := kindOf(h)
	return err == nil && k == jsonObject
}
