package reqbody

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

var (
	limits   = Limits{Bytes: 256, Depth: 3, Fields: 8}
	password = Selector{JSON: []string{"user", "password"}, Form: "password"}
)

func post(contentType, body string) *http.Request {
	r := httptest.NewRequest("POST", "/login", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

func TestField(t *testing.T) {
	tests := map[string]struct {
		kind, body string
		selector   Selector
		want       string
		wantAbsent bool
		wantCode   httperr.Code
	}{
		"form":                              {kind: formType, body: "email=a%40b&password=s+e%26", want: "s e&"},
		"form, UTF-8":                       {kind: formType + "; charset=UTF-8", body: "password=%C3%A9", want: "é"},
		"form without the field":            {kind: formType, body: "email=a", wantAbsent: true},
		"form with an empty field":          {kind: formType, body: "password=", want: ""},
		"form, others repeated":             {kind: formType, body: "role=a&role=b&password=x", want: "x"},
		"form, a longer name":               {kind: formType, body: "password=x&password_confirmation=y", want: "x"},
		"form, an indexed name":             {kind: formType, body: "user[email]=a&user[password]=x", selector: Selector{Form: "user[password]"}, want: "x"},
		"form, twice":                       {kind: formType, body: "password=x&password=y", wantCode: "malformed-body"},
		"form, twice by escape":             {kind: formType, body: "password=x&p%61ssword=y", wantCode: "malformed-body"},
		"form, in capitals":                 {kind: formType, body: "PassWord=x", wantCode: "malformed-body"},
		"form, as PHP's array":              {kind: formType, body: "password=x&password[]=y", wantCode: "malformed-body"},
		"form, as an index":                 {kind: formType, body: "password=x&password[a]=y", wantCode: "malformed-body"},
		"form, with a leading space":        {kind: formType, body: "password=x&+password=y", wantCode: "malformed-body"},
		"form, up to a NUL":                 {kind: formType, body: "password=x&password%00a=y", wantCode: "malformed-body"},
		"form, as Rack and Express read it": {kind: formType, body: "[password]=y", wantCode: "malformed-body"},
		"form, also as Rack reads it":       {kind: formType, body: "password=x&[password=y", wantCode: "malformed-body"},
		"form, as Rack's index":             {kind: formType, body: "[user][password]=y", selector: Selector{Form: "user[password]"}, wantCode: "malformed-body"},
		"form, as Spring's default":         {kind: formType, body: "!password=y", wantCode: "malformed-body"},
		"form, with a dot":                  {kind: formType, body: "user.password=y", selector: Selector{Form: "user[password]"}, wantCode: "malformed-body"},
		"form, as PHP writes it":            {kind: formType, body: "user.name=y", selector: Selector{Form: "user_name"}, wantCode: "malformed-body"},
		"form, semicolons":                  {kind: formType, body: "a=b;password=x", wantCode: "malformed-body"},
		"form, a bad escape":                {kind: formType, body: "password=%zz", wantCode: "malformed-body"},
		"form, Latin-1":                     {kind: formType, body: "password=%E9", wantCode: "malformed-body"},
		"form, too many parameters":         {kind: formType, body: "password=x" + strings.Repeat("&a=b", 8), wantCode: "malformed-body"},
		"JSON":                              {kind: jsonType, body: `{"user":{"password":"\u00e9"}}`, want: "é"},
		"JSON with another type":            {kind: "application/vnd.api+json", body: `{"user":{"password":"x"}}`, want: "x"},
		"JSON without the field":            {kind: jsonType, body: `{"user":{}}`, wantAbsent: true},
		"JSON without the object":           {kind: jsonType, body: `{}`, wantAbsent: true},
		"JSON, null":                        {kind: jsonType, body: `{"user":{"password":null}}`, wantAbsent: true},
		"JSON, null in place of the object": {kind: jsonType, body: `{"user":null}`, wantAbsent: true},
		"JSON, the name elsewhere":          {kind: jsonType, body: `{"password":"y","user":{"password":"x"}}`, want: "x"},
		"JSON, a number":                    {kind: jsonType, body: `{"user":{"password":1}}`, wantCode: "malformed-body"},
		"JSON, an array":                    {kind: jsonType, body: `{"user":{"password":["x"]}}`, wantCode: "malformed-body"},
		"JSON, no object":                   {kind: jsonType, body: `{"user":"x"}`, wantCode: "malformed-body"},
		"JSON, twice":                       {kind: jsonType, body: `{"user":{"password":"x","password":"y"}}`, wantCode: "malformed-body"},
		"JSON, twice by escape":             {kind: jsonType, body: `{"user":{"password":"x","p\u0061ssword":"y"}}`, wantCode: "malformed-body"},
		"JSON, in capitals":                 {kind: jsonType, body: `{"user":{"Password":"y"}}`, wantCode: "malformed-body"},
		"JSON, also in capitals":            {kind: jsonType, body: `{"user":{"password":"x","PASSWORD":"y"}}`, wantCode: "malformed-body"},
		"JSON, the object in capitals":      {kind: jsonType, body: `{"user":{"password":"x"},"User":{"password":"y"}}`, wantCode: "malformed-body"},
		"JSON, the Kelvin sign":             {kind: jsonType, body: `{"key":"x","\u212aey":"y"}`, selector: Selector{JSON: []string{"key"}}, wantCode: "malformed-body"},
		"JSON, no object at the top":        {kind: jsonType, body: `["x"]`, wantCode: "malformed-body"},
		"JSON, two values":                  {kind: jsonType, body: `{}{}`, wantCode: "malformed-body"},
		"JSON, cut short":                   {kind: jsonType, body: `{"user":`, wantCode: "malformed-body"},
		"JSON, a byte order mark":           {kind: jsonType, body: "\ufeff{}", wantCode: "malformed-body"},
		"JSON, Latin-1":                     {kind: jsonType, body: "{\"user\":{\"password\":\"\xe9\"}}", wantCode: "malformed-body"},
		"JSON, too deep":                    {kind: jsonType, body: `{"a":[[{}]]}`, wantCode: "malformed-body"},
		"JSON, too many values":             {kind: jsonType, body: `{"a":[1,2,3,4,5,6,7,8]}`, wantCode: "malformed-body"},
		"empty body":                        {kind: jsonType, wantAbsent: true},
		"no body and no type":               {wantAbsent: true},
		"multipart":                         {kind: "multipart/form-data; boundary=b", body: "--b--", wantCode: "unsupported-body"},
		"text":                              {kind: "text/plain", body: `{"user":{"password":"x"}}`, wantCode: "unsupported-body"},
		"no type":                           {body: "password=x", wantCode: "unsupported-body"},
		"a malformed type":                  {kind: "application/json; charset", body: "{}", wantCode: "unsupported-body"},
		"UTF-16":                            {kind: jsonType + "; charset=utf-16", body: "{}", wantCode: "unsupported-body"},
		"Latin-1":                           {kind: formType + "; charset=ISO-8859-1", body: "password=x", wantCode: "unsupported-body"},
		"a form if only JSON is allowed":    {kind: formType, body: "password=x", selector: Selector{JSON: []string{"password"}}, wantCode: "unsupported-body"},
		"JSON if only a form is allowed":    {kind: jsonType, body: `{"password":"x"}`, selector: Selector{Form: "password"}, wantCode: "unsupported-body"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.selector.Form == "" && tt.selector.JSON == nil {
				tt.selector = password
			}
			r := post(tt.kind, tt.body)
			b, err := Read(r, limits)
			if err != nil {
				t.Fatal(err)
			}
			got, found, err := b.Field(tt.selector)
			wantFound := !tt.wantAbsent && tt.wantCode == ""
			if got != tt.want || found != wantFound {
				t.Errorf("%q, %v, %v; want %q, %v", got, found, err, tt.want, wantFound)
			}
			if (err == nil) != (tt.wantCode == "") || err != nil && httperr.From(err).Code != tt.wantCode {
				t.Errorf("refused with %v; want %q", err, tt.wantCode)
			}
			wantReplayed(t, r, tt.body)
		})
	}
}

func TestContentHeaders(t *testing.T) {
	tests := map[string]struct {
		header   http.Header
		wantCode httperr.Code
	}{
		"compressed":           {header: http.Header{"Content-Type": {jsonType}, "Content-Encoding": {"gzip"}}, wantCode: "unsupported-body"},
		"compressed, in a row": {header: http.Header{"Content-Type": {jsonType}, "Content-Encoding": {"identity", "br"}}, wantCode: "unsupported-body"},
		"not compressed":       {header: http.Header{"Content-Type": {jsonType}, "Content-Encoding": {"Identity"}}},
		"two types":            {header: http.Header{"Content-Type": {jsonType, formType}}, wantCode: "unsupported-body"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := post("", `{"user":{"password":"x"}}`)
			r.Header = tt.header
			b, err := Read(r, limits)
			if err != nil {
				t.Fatal(err)
			}
			_, found, err := b.Field(password)
			if found != (tt.wantCode == "") || err != nil && httperr.From(err).Code != tt.wantCode {
				t.Errorf("%v, %v; want %q", found, err, tt.wantCode)
			}
			if b.IsForm() {
				t.Error("not read as a form")
			}
		})
	}
}

func TestParsePath(t *testing.T) {
	tests := map[string]struct {
		path    string
		want    []string
		wantErr bool
	}{
		"one":            {path: "email", want: []string{"email"}},
		"two":            {path: "user.e-mail_2", want: []string{"user", "e-mail_2"}},
		"empty":          {path: "", wantErr: true},
		"a trailing dot": {path: "user.", wantErr: true},
		"an index":       {path: "users[0]", wantErr: true},
		"a wildcard":     {path: "user.*", wantErr: true},
		"a root":         {path: "$.user", wantErr: true},
		"too long":       {path: "a.b.c.d.e.f.g.h.i", wantErr: true},
		"not ASCII":      {path: "é", wantErr: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := ParsePath(tt.path); !slices.Equal(got, tt.want) || (err != nil) != tt.wantErr {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// FuzzField checks that the app receives the same bytes, and that a found field equals what the standard library's parsers
// find.
func FuzzField(f *testing.F) {
	f.Add(jsonType, []byte(`{"user":{"password":"x"},"n":[1,null]}`), uint8(200))
	f.Add(formType, []byte("password=x&a=%41&user[password]=y"), uint8(200))
	f.Add(formType+"; charset=utf-8", []byte("password=%zz;&"), uint8(3))
	f.Add("multipart/form-data; boundary=b", []byte("--b--"), uint8(0))
	f.Fuzz(func(t *testing.T, contentType string, body []byte, size uint8) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(string(body)))
		r.Header["Content-Type"] = []string{contentType}
		b, err := Read(r, Limits{Bytes: int(size), Depth: 4, Fields: 16})
		wantReplayed(t, r, string(body))
		if err != nil {
			if len(body) <= int(size) {
				t.Fatalf("a body of %d bytes is refused: %v", len(body), err)
			}
			return
		}
		got, found, err := b.Field(password)
		if err != nil && (found || httperr.From(err).Status/100 != 4) {
			t.Fatalf("%v, %v", found, err)
		}
		if found && b.IsForm() {
			values, err := url.ParseQuery(string(body))
			if err != nil || !slices.Equal(values["password"], []string{got}) {
				t.Fatalf("%q; net/url finds %q, %v", got, values["password"], err)
			}
			return
		}
		var object struct{ User struct{ Password string } }
		if found && (json.Unmarshal(body, &object) != nil || object.User.Password != got) {
			t.Fatalf("%q; encoding/json finds %q", got, object.User.Password)
		}
	})
}
