package lifecycle

import (
	"bytes"
	"io"
	"net/http"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/posterndev/postern/sidecar/httpkit/jsonscan"
)

// Bounds of an encoded response. Clients choose the encoding, and must not be able to hide an id by it.
const (
	maxEncoded = 64 << 10
	maxDecoded = 1 << 20
)

// encoded keeps the beginning of a response's body that the app has encoded.
type encoded struct {
	coding string
	kept   []byte
}

// codingOf returns the content coding of a response in lower case; empty for none.
func codingOf(h http.Header) string {
	coding := strings.ToLower(strings.TrimSpace(strings.Join(h.Values("Content-Encoding"), ",")))
	if coding == "identity" {
		return ""
	}
	return coding
}

func (e *encoded) keep(p []byte) {
	e.kept = append(e.kept, p[:min(len(p), maxEncoded-len(e.kept))]...)
}

// decode gives the scanner what can be decoded. An encoding that it does not know has no id.
func (e *encoded) decode(s *jsonscan.Scanner) {
	var plain io.Reader
	switch e.coding {
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(bytes.NewReader(e.kept))
		if err != nil {
			return
		}
		plain = z
	case "br":
		plain = brotli.NewReader(bytes.NewReader(e.kept))
	case "zstd":
		z, err := zstd.NewReader(bytes.NewReader(e.kept), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return
		}
		defer z.Close()
		plain = z
	default:
		return
	}
	piece := make([]byte, 4<<10)
	for left := maxDecoded; left > 0; {
		n, err := plain.Read(piece)
		s.Write(piece[:n])
		if _, found := s.Text(); found || err != nil {
			return
		}
		left -= n
	}
}
