package cors

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

const front = "https://app.example.com"

func credentials() Config {
	return Config{
		AllowOrigins: []string{front, "http://localhost:3000"}, AllowMethods: []string{"GET", "PUT"}, AllowHeaders: []string{"Authorization", "X-A"},
		ExposeHeaders: []string{"X-B", "Retry-After"}, AllowCredentials: true, MaxAge: time.Hour,
	}
}

// app responds with its own CORS headers, or with 401 at /refused.
func app(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path == "/refused" {
		return &httperr.Error{Status: 401, Code: "no-token"}
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "DELETE")
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Vary", "Accept")
	w.WriteHeader(200)
	return nil
}

func serve(t *testing.T, c Config, r *http.Request, info *request.Info) *http.Response {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r = request.With(r, info)
	if err := stage.Chain(stage.Func(app), p.Decorate(), p.Preflight()).ServeHTTP(w, r); err != nil {
		httperr.Write(w, r, err)
	}
	return w.Result()
}

func preflight(origin string) *http.Request {
	r := httptest.NewRequest("OPTIONS", "/", nil)
	r.Header.Set("Origin", origin)
	r.Header.Set("Access-Control-Request-Method", "PUT")
	return r
}

func get(path string, origins ...string) *http.Request {
	r := httptest.NewRequest("GET", path, nil)
	for _, o := range origins {
		r.Header.Add("Origin", o)
	}
	return r
}

func TestCORS(t *testing.T) {
	const preflightVary = "Origin|Access-Control-Request-Method|Access-Control-Request-Headers"
	preview := Config{AllowOrigins: []string{"https://*.preview.example.com", "http://localhost:*"}, AllowCredentials: true}
	open := Config{AllowOrigins: []string{"*"}, AllowMethods: []string{"*"}, AllowHeaders: []string{"*", "Authorization"}}
	plainOptions := httptest.NewRequest("OPTIONS", "/", nil)
	plainOptions.Header.Set("Origin", front)
	optionsWithoutOrigin := httptest.NewRequest("OPTIONS", "/", nil)
	optionsWithoutOrigin.Header.Set("Access-Control-Request-Method", "PUT")
	tests := map[string]struct {
		config     Config
		r          *http.Request
		shadow     bool
		wantStatus int
		wantVary   string
		// want is Allow-Origin, Allow-Credentials, Expose-Headers, Allow-Methods, Allow-Headers, Max-Age.
		want [6]string
	}{
		"allowed": {config: credentials(), r: get("/", front), wantStatus: 200, wantVary: "Accept|Origin",
			want: [6]string{front, "true", "X-B, Retry-After"}},
		"another allowed": {config: credentials(), r: get("/", "http://localhost:3000"), wantStatus: 200, wantVary: "Accept|Origin",
			want: [6]string{"http://localhost:3000", "true", "X-B, Retry-After"}},
		"on errors":             {config: credentials(), r: get("/refused", front), wantStatus: 401, wantVary: "Origin", want: [6]string{front, "true", "X-B, Retry-After"}},
		"not allowed":           {config: credentials(), r: get("/", "https://evil.example"), wantStatus: 200, wantVary: "Accept|Origin"},
		"not allowed, on error": {config: credentials(), r: get("/refused", "https://evil.example"), wantStatus: 401, wantVary: "Origin"},
		"null":                  {config: credentials(), r: get("/", "null"), wantStatus: 200, wantVary: "Accept|Origin"},
		"other port":            {config: credentials(), r: get("/", front+":8443"), wantStatus: 200, wantVary: "Accept|Origin"},
		"other scheme":          {config: credentials(), r: get("/", "http://app.example.com"), wantStatus: 200, wantVary: "Accept|Origin"},
		"a longer host":         {config: credentials(), r: get("/", front+".evil.example"), wantStatus: 200, wantVary: "Accept|Origin"},
		"one label":             {config: preview, r: get("/", "https://pr-7.preview.example.com"), wantStatus: 200, wantVary: "Accept|Origin", want: [6]string{"https://pr-7.preview.example.com", "true"}},
		"two labels":            {config: preview, r: get("/", "https://a.b.preview.example.com"), wantStatus: 200, wantVary: "Accept|Origin"},
		"any port":              {config: preview, r: get("/", "http://localhost:5173"), wantStatus: 200, wantVary: "Accept|Origin", want: [6]string{"http://localhost:5173", "true"}},
		"preflight, one label":  {config: preview, r: preflight("https://a.preview.example.com"), wantStatus: 204, wantVary: preflightVary, want: [6]string{"https://a.preview.example.com", "true"}},
		"preflight, the parent": {config: preview, r: preflight("https://preview.example.com"), wantStatus: 403, wantVary: preflightVary},
		"no origin":             {config: credentials(), r: get("/"), wantStatus: 200, wantVary: "Accept|Origin"},
		"two origins":           {config: credentials(), r: get("/", front, "https://evil.example"), wantStatus: 200, wantVary: "Accept|Origin"},
		"any":                   {config: open, r: get("/", "https://x.example"), wantStatus: 200, wantVary: "Accept|Origin", want: [6]string{"*"}},
		"preflight": {config: credentials(), r: preflight(front), wantStatus: 204, wantVary: preflightVary,
			want: [6]string{front, "true", "X-B, Retry-After", "GET, PUT", "Authorization, X-A", "3600"}},
		"preflight to any":          {config: open, r: preflight("https://x.example"), wantStatus: 204, wantVary: preflightVary, want: [6]string{"*", "", "", "*", "*, Authorization"}},
		"preflight not allowed":     {config: credentials(), r: preflight("https://evil.example"), wantStatus: 403, wantVary: preflightVary},
		"preflight from null":       {config: credentials(), r: preflight("null"), wantStatus: 403, wantVary: preflightVary},
		"preflight, Shadow":         {config: credentials(), r: preflight("https://evil.example"), shadow: true, wantStatus: 200, wantVary: "Accept|" + preflightVary, want: [6]string{"*", "true", "", "DELETE"}},
		"not allowed, Shadow":       {config: credentials(), r: get("/", "https://evil.example"), shadow: true, wantStatus: 200, wantVary: "Accept|Origin", want: [6]string{"*", "true", "", "DELETE"}},
		"OPTIONS without a method":  {config: credentials(), r: plainOptions, wantStatus: 200, wantVary: "Accept|Origin", want: [6]string{front, "true", "X-B, Retry-After"}},
		"OPTIONS without an origin": {config: credentials(), r: optionsWithoutOrigin, wantStatus: 200, wantVary: "Accept|Origin"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			res := serve(t, tt.config, tt.r, &request.Info{Shadow: tt.shadow})
			if got := strings.Join(res.Header["Vary"], "|"); res.StatusCode != tt.wantStatus || got != tt.wantVary {
				t.Errorf("status %d, Vary %q; want %d, %q", res.StatusCode, got, tt.wantStatus, tt.wantVary)
			}
			for i, name := range []string{"Allow-Origin", "Allow-Credentials", "Expose-Headers", "Allow-Methods", "Allow-Headers", "Max-Age"} {
				if got := strings.Join(res.Header["Access-Control-"+name], "|"); got != tt.want[i] {
					t.Errorf("%s: %q; want %q", name, got, tt.want[i])
				}
			}
		})
	}
}

func TestRefusalIsRecorded(t *testing.T) {
	info := &request.Info{}
	serve(t, credentials(), preflight("https://evil.example"), info)
	if len(info.Decisions) != 1 || info.Decisions[0].Stage != "cors" || info.Decisions[0].Shadow {
		t.Errorf("recorded as %+v", info.Decisions)
	}
}
