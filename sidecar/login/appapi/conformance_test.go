package appapi

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/keys/password"
)

// try is a request to an operation.
type try struct {
	// path defaults to the path of the operation. body is a JSON object, or text.
	path string
	body any
	// text sends the body as text/plain, bare omits the request header, and without builds the API of a policy without these
	// sections.
	text, bare, without bool
	// browser sends an Origin; rebound sends a foreign Host.
	browser, rebound bool
	// of returns the path or the body for a login of "full", who has the maximum number of sessions.
	of func(object) (path string, body any)
	// unavailable is the error of the stores, and busy the error of the hasher.
	unavailable, busy error
	want              int
}

// bodies are the tries that every operation with a body has.
func bodies(good object) map[string]try {
	return map[string]try{
		"not JSON":      {body: "x", want: 400},
		"too large":     {body: object{"x": strings.Repeat("x", maxBody)}, want: 413},
		"another type":  {body: good, text: true, want: 415},
		"not in policy": {body: good, without: true, want: 404},
		"no header":     {body: good, bare: true, want: 403},
		"valid":         {body: good, want: 200},
	}
}

// strangers are refused by every operation.
func strangers() map[string]try {
	return map[string]try{"a browser": {browser: true, want: 403}, "a rebound host name": {rebound: true, want: 421}}
}

// and returns tries with more added, without the names in less.
func and(tries, more map[string]try, less ...string) map[string]try {
	for name, t := range more {
		tries[name] = t
	}
	for _, name := range less {
		delete(tries, name)
	}
	return tries
}

// conformance holds the requests to each operation of openapi.json.
func conformance() map[string]map[string]try {
	access := func(s object) (string, any) { return "", object{"token": s["access_token"]} }
	refresh := func(s object) (string, any) { return "", object{"token": s["refresh_token"]} }
	one := func(s object) (string, any) { return "/v1/sessions/" + s["session_id"].(string), nil }
	const all = "/v1/subjects/full/sessions"
	login := object{"subject": "a", "claims": object{"roles": []string{"x"}}, "device": object{"user_agent": "curl/8", "address": "192.0.2.1"}}
	return map[string]map[string]try{
		"POST /v1/tokens": and(bodies(login), map[string]try{
			"at the cap":        {body: object{"subject": "full"}, want: 409},
			"no subject":        {body: object{}, want: 422},
			"no address":        {body: object{"subject": "a", "device": object{"address": "x"}}, want: 422},
			"store unavailable": {body: login, unavailable: errUnavailable, want: 503},
		}),
		"POST /v1/introspect": and(bodies(object{"token": "x"}), map[string]try{
			"a valid token":     {of: access, want: 200},
			"no token":          {body: object{}, want: 400},
			"store unavailable": {of: access, unavailable: errUnavailable, want: 503},
		}, "no header"),
		"POST /v1/revoke": and(bodies(object{"token": "x"}), map[string]try{
			"an access token":   {of: access, want: 200},
			"a refresh token":   {of: refresh, want: 200},
			"without a jti":     {body: object{"token": "nameless"}, want: 422},
			"store unavailable": {of: refresh, unavailable: errUnavailable, want: 503},
		}, "no header"),
		"POST /v1/revocations": and(bodies(object{"subject": "a"}), map[string]try{
			"nothing":           {body: object{}, want: 422},
			"unknown issuer":    {body: object{"token_id": "x", "issuer": "https://else.example.com"}, want: 422},
			"invalid time":      {body: object{"subject": "a", "issued_before": "yesterday"}, want: 400},
			"store unavailable": {body: object{"subject": "full"}, unavailable: errUnavailable, want: 503},
		}),
		"GET /v1/subjects/{subject}/sessions": {
			"known subject": {path: all, want: 200}, "unknown subject": {path: "/v1/subjects/x/sessions", want: 200},
			"accepted issuer": {path: all + "?issuer=" + corp, want: 200}, "unknown issuer": {path: all + "?issuer=https://else.example.com", want: 422},
			"no header": {path: all, bare: true, want: 403}, "not in policy": {path: all, without: true, want: 404},
			"store unavailable": {path: all, unavailable: errUnavailable, want: 503},
		},
		"DELETE /v1/subjects/{subject}/sessions": {
			"known subject": {path: all, want: 200}, "unknown subject": {path: "/v1/subjects/x/sessions", want: 200},
			"accepted issuer": {path: all + "?issuer=" + corp, want: 200}, "unknown issuer": {path: all + "?issuer=https://else.example.com", want: 422},
			"no header": {path: all, bare: true, want: 403}, "not in policy": {path: all, without: true, want: 404},
			"store unavailable": {path: all, unavailable: errUnavailable, want: 503},
		},
		"DELETE /v1/sessions/{id}": {
			"known": {of: one, want: 204}, "unknown": {path: "/v1/sessions/x", want: 404},
			"no header": {of: one, bare: true, want: 403}, "not in policy": {of: one, without: true, want: 404},
			"store unavailable": {of: one, unavailable: errUnavailable, want: 503},
		},
		"POST /v1/passwords/hash": and(bodies(object{"password": "p"}), map[string]try{
			"empty":    {body: object{"password": ""}, want: 422},
			"refused":  {body: object{"password": "refused", "account": "ada"}, want: 422},
			"allowed":  {body: object{"password": "refused", "account": "eve"}, want: 200},
			"reused":   {body: object{"password": "p", "previous": []string{"hash of p"}}, want: 422},
			"too long": {body: object{"password": "p"}, busy: password.ErrTooLong, want: 422},
			"busy":     {body: object{"password": "p"}, busy: password.ErrBusy, want: 503},
		}),
		"POST /v1/passwords/verify": and(bodies(object{"password": "p", "hash": "hash of p"}), map[string]try{
			"invalid hash": {body: object{"password": "p", "hash": "x"}, busy: password.ErrMalformed, want: 422},
			"busy":         {body: object{"password": "p", "hash": "x"}, busy: password.ErrBusy, want: 503},
		}),
		"POST /v1/login-locks/clear": and(bodies(object{"account": "ada"}), map[string]try{
			"not shared":        {body: object{"account": "alone"}, want: 200},
			"nobody":            {body: object{"account": ""}, want: 422},
			"no account":        {body: object{}, want: 422},
			"a list":            {body: object{"account": []string{"ada"}}, want: 400},
			"twice":             {body: `{"account":"ada","account":"eve"}`, want: 400},
			"store unavailable": {body: object{"account": "ada"}, unavailable: errUnavailable, want: 503},
		}),
		"POST /v1/subjects/export": and(bodies(object{"subject": "full", "account": "ada"}), persons()),
		"POST /v1/subjects/erase": and(bodies(object{"subject": "full", "account": "ada", "reason": "Art. 17"}), and(persons(), map[string]try{
			"a long reason": {body: object{"subject": "full", "reason": strings.Repeat("x", 513)}, want: 422},
		})),
		"POST /v1/audit": and(bodies(object{"action": "CREATE", "resource": object{"kind": "user"}}), map[string]try{
			"valid":    {body: object{"action": "CREATE", "resource": object{"kind": "user"}}, want: 202},
			"a reason": {body: object{"action": "CREATE", "resource": object{"kind": "user"}, "reason": "Because it is so."}, want: 422},
			"full":     {body: object{"action": "CREATE", "resource": object{"kind": "user"}}, unavailable: errUnavailable, want: 503},
		}),
		"GET /v1/top": {
			"all": {path: "/v1/top", want: 200}, "few": {path: "/v1/top?limit=1", want: 200},
			"none": {path: "/v1/top?limit=0", want: 422}, "too many": {path: "/v1/top?limit=51", want: 422}, "no number": {path: "/v1/top?limit=x", want: 422},
			"no header": {path: "/v1/top", bare: true, want: 403}, "nothing counts": {path: "/v1/top", without: true, want: 404},
		},
		"GET /openapi.json": {"the document": {path: "/openapi.json", want: 200}},
	}
}

// TestResponsesAreDocumented: every status that occurs is documented for its operation, and every documented status occurs. Each
// body has the documented members and types, and no others.
func TestResponsesAreDocumented(t *testing.T) {
	c, tries := readContract(t), conformance()
	for path, operations := range c.Paths {
		for method, operation := range operations {
			name := strings.ToUpper(method) + " " + path
			t.Run(name, func(t *testing.T) {
				var came []string
				for what, try := range and(tries[name], strangers()) {
					response := try.ask(t, strings.ToUpper(method), path)
					if response.Code != try.want {
						t.Errorf("%s: %d %s; want %d", what, response.Code, response.Body, try.want)
					}
					came = append(came, strconv.Itoa(response.Code))
					c.check(t, what, operation, response)
				}
				for status := range operation.Responses {
					if !slices.Contains(came, status) {
						t.Errorf("no request got the documented status %s", status)
					}
				}
			})
		}
	}
	if unmet := c.unmet(); len(unmet) > 0 {
		t.Errorf("no response had the documented %v", unmet)
	}
}

func (tt try) ask(t *testing.T, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := newWorld(t, passwords{err: tt.busy})
	w.verifier.corp = map[string]*identity.Identity{"nameless": alice("")}
	w.call(t, "POST", "/v1/tokens", object{"subject": "full", "claims": object{"roles": []string{"x"}}, "device": object{"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "address": "192.0.2.1"}})
	login, body := w.login(t, "full"), tt.body
	if tt.path != "" {
		path = tt.path
	}
	if tt.of != nil {
		var of string
		if of, body = tt.of(login); of != "" {
			path = of
		}
	}
	w.sessions.err, w.revocations.err = tt.unavailable, tt.unavailable
	text, ok := body.(string)
	if !ok && body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	r := httptest.NewRequest(method, "http://127.0.0.1"+path, strings.NewReader(text))
	if !tt.text {
		r.Header.Set("Content-Type", "application/json")
	}
	if !tt.bare {
		r.Header.Set(RequestHeader, "true")
	}
	if tt.browser {
		r.Header.Set("Origin", "https://evil.example.com")
	}
	if tt.rebound {
		r.Host = "evil.example.com"
	}
	var h http.Handler = w
	if tt.without {
		var err error
		if h, err = New(Config{Logger: slog.New(slog.DiscardHandler)}); err != nil {
			t.Fatal(err)
		}
	}
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, r)
	return recorder
}

// check compares a response with the documentation of its operation.
func (c *contract) check(t *testing.T, what string, o operation, response *httptest.ResponseRecorder) {
	t.Helper()
	documented, ok := o.Responses[strconv.Itoa(response.Code)]
	if !ok {
		t.Errorf("%s: %d is not documented", what, response.Code)
		return
	}
	if len(documented.Content) == 0 {
		if response.Body.Len() > 0 {
			t.Errorf("%s: undocumented body %s", what, response.Body)
		}
		return
	}
	content, ok := documented.Content[response.Header().Get("Content-Type")]
	if !ok {
		t.Errorf("%s: undocumented Content-Type %q", what, response.Header().Get("Content-Type"))
	}
	var body any
	if err := json.Unmarshal(response.Body.Bytes(), &body); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	for _, wrong := range c.holds(content.Schema, body, "the response") {
		t.Errorf("%s: %s", what, wrong)
	}
	if problem, ok := body.(object); ok && response.Code >= 400 && problem["status"] != float64(response.Code) {
		t.Errorf("%s: status %d, but the problem says %v", what, response.Code, problem["status"])
	}
}
