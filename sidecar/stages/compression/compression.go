// Package compression encodes responses with zstd, Brotli or gzip: the one with the highest weight in the request
// (RFC 9110 §12.5.3). If several have the same weight, that order decides, from cheap to expensive. All use a low
// level, because the app shares the CPU.
//
// A response is not encoded if
//   - its type is not one of the policy's, or it is shorter than MinSize;
//   - it is encoded already, partial (206, Content-Range), without body (204, 304), or marked no-transform;
//   - it is gRPC, which compresses each message, or server-sent events, unless text/event-stream itself is in the
//     list;
//   - it has a digest of its body (RFC 9530), which would become wrong;
//   - it may contain credentials. The length of a compressed response lets an attacker who can add text to it guess
//     the rest step by step (BREACH, CVE-2013-3587). Such a response sets a cookie, is a JWT or JOSE object,
//     responds to a POST with no-store as token endpoints must (RFC 6749 §5.1), or has Info.Sensitive set by a
//     stage.
//
// Every response that could be encoded gets Vary: Accept-Encoding, encoded or not, and so do partial responses and 304 responses. The
// response to HEAD has the fields of the one to GET. Encoded responses lose
// Content-Length and Accept-Ranges, and a strong ETag becomes weak because the bytes differ (RFC 9110 §8.8.3). The
// ETag of a 304 response becomes weak as well. A client that then sends the weak tag in If-Match gets 412, as with
// other proxies that compress.
//
// If too many responses are being encoded, further ones are not: see Places. HEAD may then differ from GET.
//
// If the length of a response is unknown, up to MinSize bytes are buffered until the response is long enough. A flush
// ends the buffering.
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
	// MinSize is the minimum length of a body to encode, in bytes, up to 1 MiB.
	MinSize int
	// Types are media types, such as application/json or text/*. If empty, text, JSON, JavaScript, XML, SVG and
	// WebAssembly are encoded.
	Types []string
	// Places bound the encoders in use, together with those of other policies; nil is no bound.
	Places *Places
}

// policy is the compiled Config.
type policy struct {
	minSize int
	types   types
	pools   [numCodings]pool
	places  *Places
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
	p := &policy{minSize: c.MinSize, types: t, pools: newPools(), places: c.Places}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			cw := &writer{Writer: response.Writer{ResponseWriter: w}, policy: p, r: r, info: request.From(r), coding: negotiate(r.Header["Accept-Encoding"])}
			// If the app's connection fails, the proxy panics. The encoded body must stay incomplete too, so only the
			// place is given back.
			defer cw.leave()
			err := next.ServeHTTP(cw, r)
			if err == nil || cw.started {
				cw.close()
			}
			return err
		})
	}, nil
}
