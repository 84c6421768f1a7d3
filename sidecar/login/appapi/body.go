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

// Bounds of a request's body: its bytes, and the nesting of its JSON.
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

// readJSON reads the body into v, strictly: no unknown and no repeated members, and names as they are written.
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
	if !exact(object, reflect.TypeOf(v).Elem()) { // encoding/json takes "Subject" for "subject", and so both at once
		return badRequest(http.StatusBadRequest, "The JSON has a member that is not known.")
	}
	d := json.NewDecoder(bytes.NewReader(body.Bytes()))
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
func readToken(r *http.Request) (string, error) {
	body, err := read(r)
	if err != nil {
		return "", err
	}
	t, err := parseToken(body)
	if err == nil && t == "" {
		err = badRequest(http.StatusBadRequest, "There is no token.")
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
