// Package compression encodes responses with zstd, Brotli or gzip, whichever the client likes best (RFC 9110 §12.5.3); where it
// likes several alike, that order holds, which is by cost. All run at a low level, for the app shares the CPU.
//
// It leaves a response as it is where
//   - its type is not one of the policy's, or it is shorter than MinSize;
//   - it is encoded already, partial (206, Content-Range), without body (HEAD, 204, 304), or marked no-transform;
//   - it is gRPC, which compresses by message, or server-sent events, unless text/event-stream is listed as it is;
//   - it carries a digest of its body (RFC 9530), which would no longer hold;
//   - it may carry credentials, for the length of a compressed response tells an attacker who can add text to it, guess by
//     guess, what else is in there (BREACH, CVE-2013-3587): it sets a cookie, is a JWT or JOSE object, answers a POST with
//     no-store as token endpoints must (RFC 6749 §5.1), or a stage has set Info.Sensitive.
//
// Every response that could be encoded says Vary: Accept-Encoding, encoded or not. Encoded ones lose Content-Length and
// Accept-Ranges, and a strong ETag becomes weak, since the bytes are others (RFC 9110 §8.8.3); so does that of a 304.
// A client that then sends the weak tag in If-Match gets 412, as behind other proxies that compress.
//
// The length of a response being unknown, up to MinSize bytes are held back until it is known to be long enough; a flush
// ends that, and passes through.
package compression

import (
	"fmt"
	"net/http"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Config says which responses are encoded.
type Config struct {
	// MinSize is the least length of a body worth encoding, in bytes, up to 1 MiB.
	MinSize int
	// Types are media types, as application/json or text/*. None stands for text, JSON, JavaScript, XML, SVG and
	// WebAssembly.
	Types []string
}

// policy is the compiled Config.
type policy struct {
	minSize int
	types   types
	pools   [numCodings]pool
}

// New returns the stage.
func New(c Config) (stage.Stage, error) {
	if err := check.CompressionMinSize(c.MinSize); err != nil {
		return nil, fmt.Errorf("reading minSize: %w", err)
	}
	t, err := parseTypes(c.Types)
	if err != nil {
		return nil, err
	}
	p := &policy{minSize: c.MinSize, types: t, pools: newPools()}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			cw := &writer{Writer: response.Writer{ResponseWriter: w}, policy: p, r: r, info: request.From(r), coding: negotiate(r.Header["Accept-Encoding"])}
			// No defer: where the app's connection breaks, the proxy panics, and the encoding must stay broken too.
			err := next.ServeHTTP(cw, r)
			if err == nil || cw.started {
				cw.close()
			}
			return err
		})
	}, nil
}
