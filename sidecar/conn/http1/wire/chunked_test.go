package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// decodeChunks decodes b in pieces of size bytes. It returns the data and what follows the body.
func decodeChunks(b []byte, size int) (data, rest []byte, done bool, err error) {
	var c Chunks
	for len(b) > 0 && !c.Done() {
		piece := b[:min(size, len(b))]
		part, used, err := c.Next(piece)
		if err != nil {
			return data, nil, false, err
		}
		data, b = append(data, part...), b[used:]
	}
	if c.Done() {
		_, err = c.Trailer(nil)
	}
	return data, b, c.Done(), err
}

func TestChunks(t *testing.T) {
	tests := map[string]struct {
		input, want, wantRest string
		wantErr, wantOpen     bool
	}{
		"two chunks":             {input: "4\r\nbody\r\n0A\r\n0123456789\r\n0\r\n\r\nnext", want: "body0123456789", wantRest: "next"},
		"trailer":                {input: "1\r\na\r\n0\r\nX-Sum: 42\r\n\r\n", want: "a"},
		"extension":              {input: "1;a=\"b\"\r\na\r\n0;x\r\n\r\n", want: "a"},
		"space after the size":   {input: "1 \r\na\r\n0\r\n\r\n", want: "a"},
		"space before extension": {input: "1 ;a\r\na\r\n0\r\n\r\n", wantErr: true},
		"empty":                  {input: "0\r\n\r\nrest", wantRest: "rest"},
		"incomplete":             {input: "4\r\nbody\r\n", want: "body", wantOpen: true},
		"no size":                {input: "\r\n\r\n", wantErr: true},
		"sign":                   {input: "+4\r\nbody\r\n0\r\n\r\n", wantErr: true},
		"prefix":                 {input: "0x4\r\nbody\r\n0\r\n\r\n", wantErr: true},
		"LF after the size":      {input: "4\nbody\r\n0\r\n\r\n", wantErr: true},
		"LF after the data":      {input: "4\r\nbody\n0\r\n\r\n", want: "body", wantErr: true},
		"CR in the extension":    {input: "4;\rx\r\nbody\r\n0\r\n\r\n", wantErr: true},
		"data after the chunk":   {input: "4\r\nbody!\r\n0\r\n\r\n", want: "body", wantErr: true},
		"16 digits":              {input: "0000000000000004\r\nbody\r\n0\r\n\r\n", wantErr: true},
		"LF in the trailer":      {input: "0\r\nA: b\n\r\n", wantErr: true},
		"malformed trailer":      {input: "0\r\nA b\r\n\r\n", wantErr: true},
		"extension without end":  {input: "1;" + strings.Repeat("x", 2*maxSizeLine), wantErr: true},
		"trailer without end":    {input: "0\r\n" + strings.Repeat("A: b\r\n", maxTrailer), wantErr: true},
		"extensions on each one": {input: strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\na\r\n", 50), wantErr: true},
	}
	for name, tt := range tests {
		for _, size := range []int{1, 3, 1 << 20} {
			data, rest, done, err := decodeChunks([]byte(tt.input), size)
			if (err != nil) != tt.wantErr || !tt.wantErr && done == tt.wantOpen {
				t.Errorf("%s in pieces of %d: done %t, %v", name, size, done, err)
			}
			if !tt.wantErr && (string(data) != tt.want || string(rest) != tt.wantRest) {
				t.Errorf("%s in pieces of %d: %q and %q", name, size, data, rest)
			}
		}
	}
}

// FuzzChunks: what this decoder accepts, net/http accepts with the same result, and the size of the pieces makes no difference.
func FuzzChunks(f *testing.F) {
	for _, seed := range []string{"4\r\nbody\r\n0\r\n\r\n", "1;a=b\r\nx\r\n0\r\nA: b\r\n\r\nrest", "0\r\n\r\n", "f\r\n", "1 \r\na\r\n0\t\r\n\r\n"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		data, rest, done, err := decodeChunks(b, max(1, size))
		whole, wholeRest, wholeDone, wholeErr := decodeChunks(b, len(b)+1)
		if done != wholeDone || (err != nil) != (wholeErr != nil) || err == nil && (!bytes.Equal(data, whole) || !bytes.Equal(rest, wholeRest)) {
			t.Fatalf("%q in pieces of %d: %q %t %v; whole: %q %t %v", b, size, data, done, err, whole, wholeDone, wholeErr)
		}
		if err != nil || !done {
			return
		}
		in := bufio.NewReader(io.MultiReader(strings.NewReader("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), bytes.NewReader(b)))
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := io.ReadAll(res.Body)
		left, _ := io.ReadAll(in)
		if err != nil || !bytes.Equal(theirs, data) || !bytes.Equal(left, rest) {
			t.Fatalf("%q: %q and %q; net/http: %q and %q, %v", b, data, rest, theirs, left, err)
		}
	})
}

var emptyFold = regexp.MustCompile(`\n(?:[ \t]+\r?\n)+`)

// withoutEmptyFolds removes folded lines that are empty. net/http joins each of them with one more space, and ParseFields adds nothing.
func withoutEmptyFolds(head []byte) []byte { return emptyFold.ReplaceAllLiteral(head, []byte("\n")) }

// FuzzResponse: what this parser accepts, net/http accepts with the same status, fields and length of the body.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: b\r\n c\r\n\r\nok", "HTTP/1.0 404\nA:b\n\n", "HTTP/1.1  204 x\r\nContent-Length: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 304 \r\nX: 1\r\nx: 2\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		end, _ := EndOfHead(b, 0)
		for at, scanned := 0, 0; at <= len(b); at++ {
			var found int
			if found, scanned = EndOfHead(b[:at], scanned); found >= 0 {
				if found != end {
					t.Fatalf("the head of %q ends at %d, and read in pieces at %d", b, end, found)
				}
				break
			}
		}
		if end < 0 {
			return
		}
		status, minor, fields, err := ParseResponse(string(b[:end]), nil)
		if err != nil {
			return
		}
		length, err := ResponseLength("GET", status, minor, fields)
		if err != nil {
			return
		}
		in := bufio.NewReader(io.MultiReader(bytes.NewReader(withoutEmptyFolds(b[:end])), bytes.NewReader(b[end:])))
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%q is refused by net/http: %v", b, err)
		}
		want := http.Header{}
		for _, one := range fields {
			if one.Name != "Transfer-Encoding" && one.Name != "Trailer" && one.Name != "Content-Length" && one.Name != "Pragma" {
				want[one.Name] = append(want[one.Name], one.Value)
			}
		}
		for _, name := range []string{"Trailer", "Content-Length", "Transfer-Encoding", "Pragma"} {
			res.Header.Del(name)
		}
		if res.Header.Get("Cache-Control") != want.Get("Cache-Control") {
			delete(res.Header, "Cache-Control") // net/http adds it for Pragma
			delete(want, "Cache-Control")
		}
		if status != res.StatusCode || len(want) != len(res.Header) {
			t.Fatalf("%q: %d %v; net/http: %d %v", b, status, want, res.StatusCode, res.Header)
		}
		for name, values := range want {
			theirs := res.Header[name]
			for i := range theirs {
				theirs[i] = trimSpace(theirs[i]) // net/http leaves the space of a value that begins on a folded line
			}
			if strings.Join(values, "\x00") != strings.Join(theirs, "\x00") {
				t.Fatalf("%q: %s is %q; net/http: %q", b, name, values, res.Header[name])
			}
		}
		if theirs := res.ContentLength; theirs != max(length, -1) && !errors.Is(err, io.EOF) {
			t.Fatalf("%q: length %d; net/http: %d", b, length, theirs)
		}
	})
}
