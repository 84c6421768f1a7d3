package appapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
)

// Bounds of a request's body: its size in bytes, and the nesting of its JSON.
const (
	maxBody  = 32 << 10
	maxDepth = 12
)

func badRequest(status int, detail string) error {
	return &httperr.Error{Status: status, Code: "invalid-request", Detail: detail}
}

func read(r *http.Request) (*reqbody.Body, error) {
	body, err := reqbody.Read(r, reqbody.Limits{Bytes: maxBody, Depth: maxDepth})
	if err != nil {
		return nil, refusedBody(err)
	}
	return body, nil
}

// refusedBody is a refusal of reqbody with the API's own code: 413, 415, or else 400.
func refusedBody(err error) error {
	refusal := httperr.From(err)
	status := http.StatusBadRequest
	if refusal.Status == http.StatusRequestEntityTooLarge || refusal.Status == http.StatusUnsupportedMediaType {
		status = refusal.Status
	}
	return badRequest(status, refusal.Detail)
}

// readJSON reads the body into v. It refuses unknown and repeated members, and names in another case.
func readJSON(r *http.Request, v any) error {
	body, err := read(r)
	if err != nil {
		return err
	}
	return decodeJSON(body, v)
}

func decodeJSON(body *reqbody.Body, v any) error {
	object, err := body.Object()
	if err != nil {
		return refusedBody(err)
	}
	if !exact(object, reflect.TypeOf(v).Elem()) { // encoding/json treats "Subject" like "subject", so that both could occur
		return badRequest(http.StatusBadRequest, "The JSON has an unknown member.")
	}
	d := json.NewDecoder(bytes.NewReader(body.Bytes()))
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
		if !ok || !exactValue(value, t) {
			return false
		}
	}
	return true
}

// exactValue does so for the objects in a value: a struct, or a map of structs.
func exactValue(value any, of reflect.Type) bool {
	inner, isObject := value.(map[string]any)
	switch {
	case !isObject:
		return true
	case of.Kind() == reflect.Struct:
		return exact(inner, of)
	case of.Kind() == reflect.Map:
		for _, entry := range inner {
			if !exactValue(entry, of.Elem()) {
				return false
			}
		}
	}
	return true
}

// readToken reads the parameter token of RFC 7662 §2.1 and RFC 7009 §2.1, from a form or from JSON.
func readToken(r *http.Request) (string, error) {
	body, err := read(r)
	if err != nil {
		return "", err
	}
	t, err := parseToken(body)
	if err == nil && t == "" {
		err = badRequest(http.StatusBadRequest, "The parameter token is missing.")
	}
	return t, err
}

func parseToken(body *reqbody.Body) (string, error) {
	if !body.IsForm() {
		var request tokenRequest
		err := decodeJSON(body, &request)
		return request.Token, err
	}
	t, _, err := body.Field(reqbody.Selector{Form: "token"})
	if err != nil {
		return "", refusedBody(err)
	}
	return t, nil
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
	e := &httperr.Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Detail: "The store, such as Redis, or the key is unavailable. Try again.", Cause: err}
	return e.With("Retry-After", "1")
}
