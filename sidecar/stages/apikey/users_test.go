package apikey

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/htpasswd"
	"github.com/posterndev/postern/sidecar/keys/password"
)

// userList accepts a name if its password is "right".
type userList struct {
	file    *htpasswd.File
	missing error
	busy    error
}

func (u *userList) File() (*htpasswd.File, error) { return u.file, u.missing }

func (u *userList) Verify(_ context.Context, _ *htpasswd.File, a htpasswd.Attempt) (string, error) {
	if a.Secret != "right" {
		return "", u.busy
	}
	return a.Name, u.busy
}

// fileOf returns a file in which ada has a password.
func fileOf(t *testing.T, name, password string) *htpasswd.File {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	f, err := htpasswd.Parse(fmt.Appendf(nil, "%s:%s", name, hash))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// asAda returns the record of a request of ada, and whether the app saw the password.
func asAda(t *testing.T, u *userList, secret string) (info *request.Info, results reasons, seen bool) {
	t.Helper()
	s, err := New(Config{From: []Location{{BasicAuth: true}}, Users: &UserSource{Provider: "basic-users", Issuer: "urn:test", Users: u}})
	if err != nil {
		t.Fatal(err)
	}
	info = &request.Info{Events: event.NewStream("shop/orders", &results)}
	r := request.With(httptest.NewRequest("GET", "/", nil), info)
	r.SetBasicAuth("ada", secret)
	h := s(stage.Func(func(_ http.ResponseWriter, r *http.Request) error {
		seen = r.Header.Get("Authorization") != ""
		return nil
	}))
	if err := h.ServeHTTP(httptest.NewRecorder(), r); err != nil {
		t.Fatal(err)
	}
	return info, results, seen
}

// TestUserRefusals: each way in which a user gets no identity.
func TestUserRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		users      userList
		secret     string
		wantStatus int
		wantResult string
	}{
		"a wrong password":    {secret: "wrong", wantStatus: 401, wantResult: "basic_wrong"},
		"a control character": {secret: "right\x00", wantStatus: 401, wantResult: "basic_malformed"},
		"no file":             {users: userList{missing: errors.New("none")}, secret: "right", wantStatus: 503, wantResult: "users_unavailable"},
		"busy":                {users: userList{busy: password.ErrBusy}, secret: "right", wantStatus: 503, wantResult: "busy"},
	} {
		t.Run(name, func(t *testing.T) {
			info, results, seen := asAda(t, &tt.users, tt.secret)
			e := info.AuthnErr
			if info.Identity != nil || e == nil || e.Status != tt.wantStatus || seen || !slices.Equal(results, []string{tt.wantResult}) {
				t.Fatalf("%+v, %v, %q, seen: %v", info.Identity, e, results, seen)
			}
			if (e.Status == 503) != (e.Header.Get("Retry-After") != "") || (e.Status == 401) != (e.Header.Get("WWW-Authenticate") != "") {
				t.Errorf("header %v", e.Header)
			}
		})
	}
}

// TestUserWatch: a response in progress ends when the user is removed or has another password, and not because the file is unavailable.
func TestUserWatch(t *testing.T) {
	first := fileOf(t, "ada", "right")
	for name, tt := range map[string]struct {
		file    *htpasswd.File
		err     error
		wantEnd bool
	}{
		"nothing happens":     {file: first},
		"another password":    {file: fileOf(t, "ada", "new"), wantEnd: true},
		"the user is removed": {file: fileOf(t, "paul", "right"), wantEnd: true},
		"no file":             {err: errors.New("none")},
	} {
		t.Run(name, func(t *testing.T) {
			u := &userList{file: first}
			info, _, _ := asAda(t, u, "right")
			if info.Identity == nil || info.Identity.Subject != "ada" || info.Identity.Issuer != "urn:test" || len(info.Watches) != 1 {
				t.Fatalf("%+v, %d watches", info.Identity, len(info.Watches))
			}
			u.file, u.missing = tt.file, tt.err
			if got := info.Watches[0].Ask(t.Context()); (got != nil) != tt.wantEnd {
				t.Errorf("the response ends: %v", got)
			}
		})
	}
}
