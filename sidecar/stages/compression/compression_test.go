package compression

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

var text = strings.Repeat("all work and no play ", 200)

// run sends a request that accepts encodings through the stage.
func run(t *testing.T, c Config, r *http.Request, h stage.Func) *http.Response {
	t.Helper()
	compress, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	if err := compress(h).ServeHTTP(w, r); err != nil {
		t.Fatal(err)
	}
	return w.Result()
}

func get(accept string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept-Encoding", accept)
	return r
}

// respond writes text with the fields.
func respond(status int, fields ...string) stage.Func {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		for i := 0; i < len(fields); i += 2 {
			w.Header().Set(fields[i], fields[i+1])
		}
		w.WriteHeader(status)
		if status == http.StatusNotModified {
			return nil
		}
		_, err := io.WriteString(w, text)
		return err
	}
}

func decode(t *testing.T, coding string, body io.Reader) string {
	t.Helper()
	var err error
	switch coding {
	case "gzip":
		body, err = gzip.NewReader(body)
	case "zstd":
		var d *zstd.Decoder
		d, err = zstd.NewReader(body, zstd.WithDecoderMaxMemory(8<<20))
		body = d
	case "br":
		body = brotli.NewReader(body)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestEncodes(t *testing.T) {
	for _, coding := range []string{"zstd", "br", "gzip"} {
		t.Run(coding, func(t *testing.T) {
			for range 3 { // so that the encoders are reused
				res := run(t, Config{MinSize: 100}, get(coding), respond(200, "Etag", `"1"`, "Accept-Ranges", "bytes", "Content-Length", "4200", "Vary", "Origin"))
				h := res.Header
				if h.Get("Content-Encoding") != coding || h.Get("Content-Length") != "" || h.Get("Accept-Ranges") != "" {
					t.Fatalf("header %v", h)
				}
				if h.Get("Etag") != `W/"1"` || strings.Join(h["Vary"], "|") != "Origin|Accept-Encoding" {
					t.Errorf("Etag %q, Vary %q", h.Get("Etag"), h["Vary"])
				}
				raw, err := io.ReadAll(res.Body)
				if err != nil || len(raw) > len(text)/4 {
					t.Errorf("%d bytes, %v", len(raw), err)
				}
				if got := decode(t, coding, bytes.NewReader(raw)); got != text {
					t.Errorf("decoded to %d bytes that differ from the response", len(got))
				}
			}
		})
	}
}

func TestNotEncoded(t *testing.T) {
	post := get("gzip")
	post.Method = "POST"
	head := get("gzip")
	head.Method = "HEAD"
	tests := map[string]struct {
		r        *http.Request
		info     request.Info
		handler  stage.Func
		config   Config
		wantVary string
		wantETag string
	}{
		"not accepted":          {r: get("identity"), handler: respond(200, "Etag", `"1"`), wantVary: "Accept-Encoding", wantETag: `"1"`},
		"HEAD":                  {r: head, handler: respond(200), wantVary: "Accept-Encoding"},
		"known to be short":     {handler: respond(200, "Content-Length", "99"), config: Config{MinSize: 100}, wantVary: "Accept-Encoding"},
		"known to be empty":     {handler: respond(200, "Content-Length", "0"), wantVary: "Accept-Encoding"},
		"turns out to be short": {handler: respond(200), config: Config{MinSize: len(text) + 1}, wantVary: "Accept-Encoding"},
		"other type":            {handler: respond(200, "Content-Type", "image/png")},
		"no type":               {handler: respond(200, "Content-Type", "")},
		"encoded by the app":    {handler: respond(200, "Content-Encoding", "br", "Etag", `"1"`), wantETag: `"1"`},
		"no-transform":          {handler: respond(200, "Cache-Control", "public, No-Transform")},
		"partial":               {handler: respond(206, "Content-Range", "bytes 0-1/4200"), wantVary: "Accept-Encoding"},
		"partial image":         {handler: respond(206, "Content-Type", "image/png")},
		"304 of an image":       {handler: respond(304, "Content-Type", "image/png")},
		"304, no-transform":     {handler: respond(304, "Cache-Control", "no-transform")},
		"a range":               {handler: respond(200, "Content-Range", "bytes 0-1/2")},
		"304":                   {handler: respond(304, "Etag", `"1"`), wantVary: "Accept-Encoding", wantETag: `W/"1"`},
		"304, weak":             {handler: respond(304, "Etag", `W/"1"`), wantVary: "Accept-Encoding", wantETag: `W/"1"`},
		"304, not accepted":     {r: get(""), handler: respond(304, "Etag", `"1"`), wantVary: "Accept-Encoding", wantETag: `"1"`},
		"gRPC":                  {handler: respond(200, "Content-Type", "application/grpc+proto"), config: Config{Types: []string{"application/*"}}},
		"events":                {handler: respond(200, "Content-Type", "text/event-stream")},
		"digest":                {handler: respond(200, "Content-Digest", "sha-256=:x:")},
		"cookie":                {handler: respond(200, "Set-Cookie", "s=1")},
		"JWT":                   {handler: respond(200, "Content-Type", "application/token-introspection+JWT"), config: Config{Types: []string{"application/*"}}},
		"JOSE":                  {handler: respond(200, "Content-Type", "application/jose+json"), config: Config{Types: []string{"application/*"}}},
		"token endpoint":        {r: post, handler: respond(200, "Cache-Control", "no-store")},
		"marked by a stage":     {info: request.Info{Sensitive: true}, handler: respond(200)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := tt.r
			if r == nil {
				r = get("gzip")
			}
			res := run(t, tt.config, request.With(r, &tt.info), tt.handler)
			body, err := io.ReadAll(res.Body)
			if err != nil || (string(body) != text && res.StatusCode != http.StatusNotModified) {
				t.Errorf("got %d bytes, %v; want the %d bytes of the app", len(body), err, len(text))
			}
			if got := strings.Join(res.Header["Vary"], "|"); got != tt.wantVary || res.Header.Get("Etag") != tt.wantETag {
				t.Errorf("Vary %q, Etag %q; want %q, %q", got, res.Header.Get("Etag"), tt.wantVary, tt.wantETag)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	tests := map[string]Config{
		"negative size":   {MinSize: -1},
		"huge size":       {MinSize: check.MaxCompressionMinSize + 1},
		"no subtype":      {Types: []string{"text"}},
		"everything":      {Types: []string{"*/*"}},
		"suffix wildcard": {Types: []string{"application/*+json"}},
		"parameters":      {Types: []string{"text/html; charset=utf-8"}},
		"empty":           {Types: []string{""}},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := New(c); err == nil {
				t.Errorf("New(%+v) returned no error", c)
			}
		})
	}
}

func TestErrorBeforeTheResponse(t *testing.T) {
	compress, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	refusal := &httperr.Error{Status: 403, Code: "no"}
	w := httptest.NewRecorder()
	err = compress(stage.Func(func(http.ResponseWriter, *http.Request) error { return refusal })).ServeHTTP(w, get("gzip"))
	if !errors.Is(err, refusal) || len(w.Header()) != 0 || w.Body.Len() != 0 {
		t.Errorf("err %v, header %v", err, w.Header())
	}
}
