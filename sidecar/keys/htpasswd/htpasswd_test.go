package htpasswd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/password"
)

// Lines of htpasswd -nbB -C 5: the passwords are "demo" and "Grüße".
const (
	ada   = "ada:$2y$05$sA./MypKsiJAVYUKGgcrdetVqk2dXCF.WuypLz0hJQLmBj1iIUvdW"
	grace = "grace hopper:$2y$05$j0r4w135g2.AQlo6KyGuMuWEowCKIfT2g4G5Vu8z26vJorL1zAOhm"
)

func TestParse(t *testing.T) {
	tests := map[string]struct {
		data    string
		want    int
		wantErr string
	}{
		"two users":            {data: ada + "\n" + grace + "\n", want: 2},
		"comments":             {data: "# users\r\n\r\n" + ada + "\r\n", want: 1},
		"without a line end":   {data: ada, want: 1},
		"empty":                {data: "\n", wantErr: "no user"},
		"twice":                {data: ada + "\n" + ada + "\n", wantErr: "line 2: the user occurs twice"},
		"no hash":              {data: "ada\n", wantErr: "line 1: it is not name:hash"},
		"no name":              {data: strings.TrimPrefix(ada, "ada"), wantErr: "line 1: it is not name:hash"},
		"MD5 of Apache":        {data: "ada:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00", wantErr: "htpasswd -B"},
		"SHA-1":                {data: "ada:{SHA}ieSV55Qc+eQOaYDRSha/AjzNTJE=", wantErr: "htpasswd -B"},
		"plain":                {data: "ada:demo", wantErr: "htpasswd -B"},
		"crypt":                {data: "ada:rqXexS6ZhobKA", wantErr: "htpasswd -B"},
		"too costly":           {data: strings.Replace(ada, "$05$", "$16$", 1), wantErr: "htpasswd -B"},
		"a control character":  {data: "a\x00da" + ada[3:], wantErr: "control character"},
		"not UTF-8":            {data: "a\xffda" + ada[3:], wantErr: "not UTF-8"},
		"a long name":          {data: strings.Repeat("a", 256) + ada[3:], wantErr: "more than 255 bytes"},
		"more than a megabyte": {data: strings.Repeat("#\n", MaxSize/2+1), wantErr: "more than 1048576 bytes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, err := Parse([]byte(tt.data))
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("%v; want %q", err, tt.wantErr)
			}
			if err == nil && f.Len() != tt.want {
				t.Errorf("%d users; want %d", f.Len(), tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "$2y$") {
				t.Errorf("%v contains a hash", err)
			}
		})
	}
}

func TestTooManyUsers(t *testing.T) {
	var b strings.Builder
	for i := range MaxUsers + 1 {
		fmt.Fprintf(&b, "u%d%s\n", i, ada[3:])
	}
	if _, err := Parse([]byte(b.String())); err == nil || !strings.Contains(err.Error(), "more than 10000 users") {
		t.Error(err)
	}
}

// counted counts the hashes that are computed.
type counted struct {
	*password.Hasher
	calls int
	err   error
}

func (c *counted) Verify(ctx context.Context, secret, encoded string) (password.Result, error) {
	c.calls++
	if c.err != nil {
		return password.Result{}, c.err
	}
	return c.Hasher.Verify(ctx, secret, encoded)
}

func TestVerify(t *testing.T) {
	file, err := Parse([]byte(ada + "\n" + grace + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	hasher, err := password.New(password.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c := &counted{Hasher: hasher}
	now := time.Unix(0, 0)
	v, err := NewVerifier(c, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		user, secret, want string
	}{
		"correct":                       {"ada", "demo", "ada"},
		"beyond ASCII":                  {"grace hopper", "Grüße", "grace hopper"},
		"wrong":                         {"ada", "demo2", ""},
		"of another user":               {"grace hopper", "demo", ""},
		"unknown":                       {"paul", "demo", ""},
		"unknown, the decoy's password": {"nobody", "demo", ""},
		"empty":                         {"", "", ""},
		"longer than bcrypt uses":       {"ada", "demo" + strings.Repeat("\x00", 70), ""},
		"in another case":               {"Ada", "demo", ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := c.calls
			if got, err := v.Verify(t.Context(), file, Attempt{Name: tt.user, Secret: tt.secret}); err != nil || got != tt.want {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
			if c.calls != before+1 {
				t.Errorf("%d hashes were computed; every first attempt needs one", c.calls-before)
			}
		})
	}
	correct := func(wantCalls int) {
		t.Helper()
		before := c.calls
		if got, err := v.Verify(t.Context(), file, Attempt{Name: "ada", Secret: "demo"}); err != nil || got != "ada" || c.calls-before != wantCalls {
			t.Errorf("%v, %v with %d hashes; want %d", got, err, c.calls-before, wantCalls)
		}
	}
	correct(0)
	now = now.Add(cacheFor)
	correct(1)
	changed, err := Parse([]byte("ada:" + strings.SplitN(grace, ":", 2)[1]))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := v.Verify(t.Context(), changed, Attempt{Name: "ada", Secret: "demo"}); got != "" {
		t.Error("the old password is accepted after a change of the file")
	}
	c.err = password.ErrBusy
	if _, err := v.Verify(t.Context(), file, Attempt{Name: "ada", Secret: "other"}); !errors.Is(err, password.ErrBusy) {
		t.Errorf("busy: %v", err)
	}
}

func (c *counted) VerifySpare(ctx context.Context, secret, encoded string) (password.Result, error) {
	return c.Verify(ctx, secret, encoded)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(ada + "\n# x\n" + grace))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			return
		}
		for name, hash := range file.hashes {
			if name == "" || !password.IsBcrypt(hash) {
				t.Errorf("%q has the hash %q", name, hash)
			}
		}
	})
}
