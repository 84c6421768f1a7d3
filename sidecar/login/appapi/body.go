package appapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/keys/jwks/strictjson"
)

// Bounds of a request's body: its size in bytes, and the nesting of its JSON.
const (
	maxBody  = 32 << 10
	maxDepth = 12
)

func badRequest(status int, detail string) error {
	return &httperr.Error{Status: status, Code: "invalid-request", Detail: detail}
}

func read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, badRequest(http.StatusRequestEntityTooLarge, "The body is larger than 32 KiB.")
	}
	if err != nil {
		return nil, badRequest(http.StatusBadRequest, "The body could not be read.")
	}
	return body, nil
}

func mediaType(r *http.Request) string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// readJSON reads the body into v. It refuses unknown and repeated members, and names in another case.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	if mediaType(r) != "application/json" {
		return badRequest(http.StatusUnsupportedMediaType, "The Content-Type must be application/json.")
	}
	body, err := read(w, r)
	if err != nil {
		return err
	}
	return decodeJSON(body, v)
}

func decodeJSON(body []byte, v any) error {
	object, err := strictjson.Object(body, maxDepth)
	if err != nil {
		return badRequest(http.StatusBadRequest, "The body must be one JSON object without repeated members.")
	}
	if !exact(object, reflect.TypeOf(v).Elem()) { // encoding/json treats "Subject" like "subject", so that both could occur
		return badRequest(http.StatusBadRequest, "The JSON has an unknown member.")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return badRequest(http.StatusBadRequest, "The JSON has a member that is unknown or has the wrong type.")
	}
	return nil
}

// exact reports whether an object has only members of a struct, in the same case.
func exact(object map[string]any, of reflect.Type) bool {
	known := map[string]reflect.Type{}
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		known[name] = of.Field(i).Type
	}
	for name, value := range object {
		t, ok := known[name]
		if inner, isObject := value.(map[string]any); !ok || isObject && t.Kind() == reflect.Struct && !exact(inner, t) {
			return false
		}
	}
	return true
}

// readToken reads the parameter token of RFC 7662 §2.1 and RFC 7009 §2.1, from a form or from JSON.
func readToken(w http.ResponseWriter, r *http.Request) (string, error) {
	kind := mediaType(r)
	if kind != "application/x-www-form-urlencoded" && kind != "application/json" {
		return "", badRequest(http.StatusUnsupportedMediaType, "The Content-Type must be application/x-www-form-urlencoded or application/json.")
	}
	body, err := read(w, r)
	if err != nil {
		return "", err
	}
	t, err := parseToken(kind, body)
	if err == nil && t == "" {
		err = badRequest(http.StatusBadRequest, "The parameter token is missing.")
	}
	return t, err
}

func parseToken(kind string, body []byte) (string, error) {
	if kind == "application/json" {
		var request tokenRequest
		err := decodeJSON(body, &request)
		return request.Token, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || len(form["token"]) > 1 {
		return "", badRequest(http.StatusBadRequest, "The form is malformed or has more than one token.")
	}
	return form.Get("token"), nil
}

// write responds with v. Caches must not store it, because responses hold credentials or personal data.
func write(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding response: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // a write error means that the client has disconnected
	return nil
}

// unavailable returns the refusal for an unavailable store or key.
func unavailable(err error) error {
	e := &httperr.Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Detail: "The store or the key is unavailable. Try again.", Cause: err}
	return e.With("Retry-After", "1")
}
