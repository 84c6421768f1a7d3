package passwordpolicy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/passwordrules"
)

func policy(t testing.TB, change func(*Config)) *Policy {
	t.Helper()
	match, err := route.NewMatcher([]route.Match{{Methods: []string{"POST"}, Paths: []string{"/register"}}})
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Rules: passwordrules.Rules{MinLength: 15, MaxLength: 128, Blocklist: true}, Routes: []Route{{
		Match: match, Password: reqbody.Selector{JSON: []string{"password"}, Form: "password"},
		Confirmation: &reqbody.Selector{JSON: []string{"again"}, Form: "again"}, Account: &reqbody.Selector{JSON: []string{"email"}, Form: "email"},
	}}}
	if change != nil {
		change(&c)
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serve sends a request through the stage. It returns the body that the app got, and whether it was called.
func serve(p *Policy, contentType string, body io.Reader) (info *request.Info, got string, passed bool, err error) {
	r := httptest.NewRequest("POST", "/register", body)
	r.Header["Content-Type"] = []string{contentType}
	info = &request.Info{Path: "/register"}
	app := stage.Func(func(_ http.ResponseWriter, r *http.Request) error {
		text, err := io.ReadAll(r.Body)
		got, passed = string(text), true
		return err
	})
	err = p.Stage()(app).ServeHTTP(httptest.NewRecorder(), request.With(r, info))
	return info, got, passed, err
}

func TestNew(t *testing.T) {
	if _, err := New(Config{Routes: []Route{{}}}); err == nil {
		t.Error("a route without match and password is accepted")
	}
	if p, err := New(Config{}); err != nil || p.Stage() != nil {
		t.Errorf("without routes: %v", err)
	}
}

// reader counts how much of a large body is read.
type reader struct{ read, left int }

func (r *reader) Read(b []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), r.left)
	for i := range b[:n] {
		b[i] = ' '
	}
	r.read, r.left = r.read+n, r.left-n
	return n, nil
}

// TestALargeBody: 10 MiB are refused without being read, also if the length is not announced. In shadow mode the app gets all of them.
func TestALargeBody(t *testing.T) {
	large := &reader{left: 10 << 20}
	_, _, passed, err := serve(policy(t, nil), "application/json", large)
	if passed || httperr.From(err).Status != http.StatusRequestEntityTooLarge || large.read > MaxBody+1024 {
		t.Errorf("passed %v, %v, after %d bytes", passed, err, large.read)
	}
	info, got, passed, err := serve(policy(t, func(c *Config) { c.ShadowRules = []passwordrules.Code{Body} }), "application/json", &reader{left: 10 << 20})
	if !passed || err != nil || len(got) != 10<<20 || len(info.Decisions) != 1 || info.Decisions[0].Rule != "body" || !info.Decisions[0].Shadow {
		t.Errorf("passed %v, %v, %d bytes, %+v", passed, err, len(got), info.Decisions)
	}
}

// TestEachFailureIsADecision: the log and the metrics have every rule, with nothing of the password.
func TestEachFailureIsADecision(t *testing.T) {
	info, _, passed, err := serve(policy(t, nil), "application/json", strings.NewReader(`{"password":"zqxj","again":"vwkf","email":"ada@example.com"}`))
	var rules []string
	for _, d := range info.Decisions {
		rules = append(rules, d.Stage+"/"+d.Rule+"/"+string(d.Err.Code))
		if strings.Contains(d.Err.Error(), "zqxj") || strings.Contains(d.Err.Error(), "vwkf") {
			t.Errorf("the log has a password: %v", d.Err)
		}
	}
	if got := strings.Join(rules, " "); passed || got != "password-policy/too-short/password-refused password-policy/confirmation-mismatch/password-refused" {
		t.Errorf("passed %v with %s", passed, got)
	}
	if e := httperr.From(err); len(e.Errors) != 2 || e.Errors[1].Field != "again" {
		t.Errorf("%+v", e)
	}
}

// FuzzBodies checks that a request passes only if the password that the standard parsers find satisfies the rules, and then unchanged.
func FuzzBodies(f *testing.F) {
	f.Add("application/json", `{"password":"tidal lantern orbit 7","again":"tidal lantern orbit 7","email":"a@b"}`)
	f.Add("application/x-www-form-urlencoded", "password=tidal+lantern+orbit+7&again=tidal+lantern+orbit+7")
	f.Add("application/x-www-form-urlencoded", "password=x&password=tidal+lantern+orbit+7&again=tidal+lantern+orbit+7")
	f.Add("multipart/form-data; boundary=b", "--b--")
	p := policy(f, nil)
	f.Fuzz(func(t *testing.T, contentType, body string) {
		_, got, passed, err := serve(p, contentType, strings.NewReader(body))
		if passed == (err != nil) {
			t.Fatalf("passed %v with %v", passed, err)
		}
		if !passed {
			if status := httperr.From(err).Status; status < 400 || status > 499 {
				t.Fatalf("status %d", status)
			}
			return
		}
		if got != body {
			t.Fatalf("the app got %q; want %q", got, body)
		}
		if strings.HasPrefix(contentType, "application/x-www-form-urlencoded") {
			values, err := url.ParseQuery(body)
			if err != nil || len(values["password"]) != 1 || len(p.Rules.Judge(values.Get("password"), values.Get("email"))) > 0 || values.Get("again") != values.Get("password") {
				t.Fatalf("passed with %v, %v", values, err)
			}
		}
	})
}
