package reqbody

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// wantReplayed reads r's body as the app does.
func wantReplayed(t testing.TB, r *http.Request, want string) {
	t.Helper()
	got, err := io.ReadAll(r.Body)
	if err != nil || string(got) != want {
		t.Errorf("the app gets %q, %v; want %q", got, err, want)
	}
	if r.ContentLength >= 0 && r.ContentLength != int64(len(want)) {
		t.Errorf("the app gets a length of %d bytes; want %d", r.ContentLength, len(want))
	}
}

func TestReadRefuses(t *testing.T) {
	tests := map[string]struct {
		body io.Reader
		// length is the Content-Length; -1 if the body is chunked.
		length   int64
		wantCode httperr.Code
		// wantReplay and wantErr are what the app gets in shadow mode.
		wantReplay string
		wantErr    error
	}{
		"too large by its length":        {body: strings.NewReader("12345"), length: 5, wantCode: "body-too-large", wantReplay: "12345"},
		"too large in chunks":            {body: strings.NewReader("123456789"), length: -1, wantCode: "body-too-large", wantReplay: "123456789"},
		"cut short":                      {body: io.MultiReader(strings.NewReader("12"), iotest.ErrReader(io.ErrUnexpectedEOF)), length: 3, wantCode: "bad-body", wantReplay: "12", wantErr: io.ErrUnexpectedEOF},
		"too slow":                       {body: io.MultiReader(strings.NewReader("1"), iotest.ErrReader(os.ErrDeadlineExceeded)), length: -1, wantCode: "body-timeout", wantReplay: "1", wantErr: os.ErrDeadlineExceeded},
		"refused by an earlier stage":    {body: iotest.ErrReader(&httperr.Error{Status: 400, Code: "malformed-chunk-size"}), length: -1, wantCode: "malformed-chunk-size", wantErr: &httperr.Error{}},
		"too large for an earlier stage": {body: iotest.ErrReader(&http.MaxBytesError{Limit: 1}), length: -1, wantCode: "body-too-large", wantErr: &http.MaxBytesError{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := post(jsonType, "")
			r.Body, r.ContentLength = io.NopCloser(tt.body), tt.length
			b, err := Read(r, Limits{Bytes: 4})
			if b != nil || err == nil || httperr.From(err).Code != tt.wantCode {
				t.Fatalf("%v, %v; want %s", b, err, tt.wantCode)
			}
			got, err := io.ReadAll(r.Body)
			if string(got) != tt.wantReplay || (err == nil) != (tt.wantErr == nil) || r.ContentLength != tt.length {
				t.Errorf("the app gets %q, %v of %d bytes; want %q, %v", got, err, r.ContentLength, tt.wantReplay, tt.wantErr)
			}
		})
	}
}

// counted counts reads and closes.
type counted struct {
	io.Reader
	reads, closes int
}

func (c *counted) Read(p []byte) (int, error) { c.reads++; return c.Reader.Read(p) }
func (c *counted) Close() error               { c.closes++; return nil }

func TestSecondReaderGetsTheSameBody(t *testing.T) {
	const text = `{"user":{"password":"x"}}`
	r := post(jsonType, text)
	body := &counted{Reader: strings.NewReader(text)}
	r.Body = body
	first, err := Read(r, limits)
	if err != nil {
		t.Fatal(err)
	}
	reads := body.reads
	if second, err := Read(r, limits); err != nil || second != first || body.reads != reads {
		t.Errorf("%p, %v after %d reads; want %p after %d", second, err, body.reads, first, reads)
	}
	shallow, err := Read(r, Limits{Bytes: 256, Depth: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := shallow.Field(password); err == nil {
		t.Error("the second reader's own depth limit does not apply")
	}
	if _, err := Read(r, Limits{Bytes: 4}); err == nil {
		t.Error("the second reader's own byte limit does not apply")
	}
	if value, _, err := first.Field(password); value != "x" || err != nil || string(first.Bytes()) != text {
		t.Errorf("%q, %v of %s", value, err, first.Bytes())
	}
	wantReplayed(t, r, text)
	if err := r.Body.Close(); err != nil || body.closes != 1 {
		t.Errorf("closing: %v, %d times", err, body.closes)
	}
}

func TestExpectIsRemoved(t *testing.T) {
	r := post(jsonType, "{}")
	r.Header.Set("Expect", "100-continue")
	if _, err := Read(r, Limits{Bytes: 1}); err == nil || r.Header.Get("Expect") == "" {
		t.Errorf("refused by its length: %v, Expect %q", err, r.Header.Get("Expect"))
	}
	if _, err := Read(r, limits); err != nil || r.Header.Get("Expect") != "" {
		t.Errorf("read: %v, Expect %q", err, r.Header.Get("Expect"))
	}
}

func TestNoBody(t *testing.T) {
	for name, body := range map[string]io.ReadCloser{"nil": nil, "none": http.NoBody, "empty": io.NopCloser(iotest.ErrReader(errors.New("read")))} {
		r := post(jsonType, "")
		r.Body, r.ContentLength = body, 0
		b, err := Read(r, limits)
		if err != nil || len(b.Bytes()) != 0 || r.Body != body {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if form, err := b.Form(); len(form) != 0 || err != nil {
			t.Errorf("%s: %v, %v", name, form, err)
		}
		if _, err := b.Object(); err == nil {
			t.Errorf("%s: an empty body was read as an object", name)
		}
	}
}
