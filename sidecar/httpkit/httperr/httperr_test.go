package httperr

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	refusal := func() *Error {
		return &Error{Status: 403, Code: "no-role", Detail: "A <role> is missing.", Cause: errors.New("secret cause")}
	}
	const problemJSON = "application/problem+json"
	tests := map[string]struct {
		err        error
		method     string
		accept     string
		wantStatus int
		wantType   string
		wantCode   string
		wantDetail string
	}{
		"problem":          {err: refusal(), wantStatus: 403, wantType: problemJSON, wantCode: "no-role", wantDetail: "A <role> is missing."},
		"wrapped":          {err: fmt.Errorf("deciding: %w", refusal()), wantStatus: 403, wantType: problemJSON, wantCode: "no-role", wantDetail: "A <role> is missing."},
		"another error":    {err: errors.New("secret cause"), wantStatus: 500, wantType: problemJSON, wantCode: "internal", wantDetail: "The request could not be processed."},
		"an API client":    {err: refusal(), accept: "application/json, text/html", wantStatus: 403, wantType: problemJSON, wantCode: "no-role", wantDetail: "A <role> is missing."},
		"any type":         {err: refusal(), accept: "*/*", wantStatus: 403, wantType: problemJSON, wantCode: "no-role", wantDetail: "A <role> is missing."},
		"a browser":        {err: refusal(), accept: "text/html,application/xhtml+xml,*/*;q=0.8", wantStatus: 403, wantType: "text/html; charset=utf-8"},
		"HTML before JSON": {err: refusal(), accept: "text/html, application/json", wantStatus: 403, wantType: "text/html; charset=utf-8"},
		"HEAD":             {err: refusal(), method: "HEAD", wantStatus: 403, wantType: problemJSON},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(method(tt.method), "/", nil)
			r.Header.Set("Accept", tt.accept)
			w := httptest.NewRecorder()
			Write(w, r, tt.err)
			if w.Code != tt.wantStatus || w.Header().Get("Content-Type") != tt.wantType || w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("response %d, %v; want %d %q", w.Code, w.Header(), tt.wantStatus, tt.wantType)
			}
			body, err := io.ReadAll(w.Body)
			if err != nil || strings.Contains(string(body), "secret") {
				t.Fatalf("body %q, %v", body, err)
			}
			switch {
			case tt.method == http.MethodHead:
				if len(body) != 0 || w.Header().Get("Content-Length") == "0" {
					t.Errorf("HEAD has body %q, Content-Length %s", body, w.Header().Get("Content-Length"))
				}
				return
			case tt.wantType == problemJSON:
				checkProblem(t, body, tt.wantStatus, tt.wantCode, tt.wantDetail)
			case !strings.Contains(string(body), "A &lt;role&gt; is missing."):
				t.Errorf("HTML %q does not contain the escaped detail", body)
			}
			if got := w.Header().Get("Content-Length"); got != strconv.Itoa(len(body)) {
				t.Errorf("Content-Length %s of %d bytes", got, len(body))
			}
		})
	}
}

func method(m string) string {
	if m == "" {
		return http.MethodGet
	}
	return m
}

func checkProblem(t *testing.T, body []byte, status int, code, detail string) {
	t.Helper()
	var p problem
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatal(err)
	}
	want := problem{Type: TypePrefix + code, Title: http.StatusText(status), Status: status, Detail: detail}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("problem %+v; want %+v", p, want)
	}
}

func TestWriteAddsHeaders(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("X-Frame-Options", "deny")
	err := (&Error{Status: 401, Code: "no-token"}).With("WWW-Authenticate", "Bearer").With("WWW-Authenticate", "Basic")
	Write(w, httptest.NewRequest("GET", "/", nil), err)
	if got := w.Header()["Www-Authenticate"]; len(got) != 2 || w.Header().Get("X-Frame-Options") != "deny" {
		t.Errorf("header %v", w.Header())
	}
}

func TestErrorText(t *testing.T) {
	cause := errors.New("why")
	tests := map[string]struct {
		err  *Error
		want string
	}{
		"without cause": {err: &Error{Code: "no", Detail: "No."}, want: "no: No."},
		"with cause":    {err: &Error{Code: "no", Detail: "No.", Cause: cause}, want: "no: why"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.err.Error(); got != tt.want {
				t.Errorf("Error() = %q; want %q", got, tt.want)
			}
		})
	}
	if !errors.Is(&Error{Cause: cause}, cause) {
		t.Error("the cause is not found behind the error")
	}
}

// TestWriteLists: a problem has the fields that are wrong, and a page has the sentences, escaped.
func TestWriteLists(t *testing.T) {
	e := &Error{Status: 422, Code: "password-refused", Errors: []FieldError{{Field: "password", Code: "too-short", Detail: "<b>short"}}}
	for accept, want := range map[string]string{
		"":          `"errors":[{"field":"password","code":"too-short","detail":"\u003cb\u003eshort"}]`,
		"text/html": `<li>&lt;b&gt;short</li>`,
	} {
		r, w := httptest.NewRequest("POST", "/", nil), httptest.NewRecorder()
		r.Header.Set("Accept", accept)
		Write(w, r, e)
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("Accept %q: %s; want %s", accept, w.Body, want)
		}
	}
}
