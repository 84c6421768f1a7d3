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

	"github.com/posterndev/postern/api/check/strictjson"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// Bounds of a request's body: its bytes, and the nesting of its JSON.
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

// readJSON reads the body into v, strictly: no unknown and no repeated members, and names as they are written.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	if mediaType(r) != "application/json" {
		return badRequest(http.StatusUnsupportedMediaType, "The Content-Type is not application/json.")
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
		return badRequest(http.StatusBadRequest, "The body is not one JSON object without repeated members.")
	}
	if !exact(object, reflect.TypeOf(v).Elem()) { // encoding/json takes "Subject" for "subject", and so both at once
		return badRequest(http.StatusBadRequest, "The JSON has a member that is not known.")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return badRequest(http.StatusBadRequest, "The JSON has a member that is not known or of another type.")
	}
	return nil
}

// exact reports whether an object has the members of a struct, by their very names, and no others.
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
		return "", badRequest(http.StatusUnsupportedMediaType, "The Content-Type is neither application/x-www-form-urlencoded nor application/json.")
	}
	body, err := read(w, r)
	if err != nil {
		return "", err
	}
	t, err := parseToken(kind, body)
	if err == nil && t == "" {
		err = badRequest(http.StatusBadRequest, "There is no token.")
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

// write answers with v; answers hold credentials or what is known of people.
func write(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // the client has gone: nobody is left to tell
	return nil
}

// unavailable is for stores and keys that do not answer.
func unavailable(err error) error {
	e := &httperr.Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Detail: "The store or the key does not answer; try again.", Cause: err}
	return e.With("Retry-After", "1")
}
