package upstream

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/posterndev/postern/api/check/fieldset"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// EndToEnd removes the fields that the client's Connection names, as RFC 9110 §7.6.1 asks. It must come before every stage
// that reads or sets a field: only then does it remove the client's own and never the sidecar's (golang/go#50580). Proxy
// itself therefore ignores what Connection names.
func EndToEnd() stage.Stage {
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			removeNamed(r.Header)
			return next.ServeHTTP(w, r)
		})
	}
}

// removeNamed keeps the fields of a WebSocket handshake and TE, which cleanHeader judges.
func removeNamed(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			switch name = http.CanonicalHeaderKey(strings.Trim(name, " \t")); name {
			case "Upgrade", "Te", "Connection":
			default:
				delete(h, name)
			}
		}
	}
}

// cleanHeader removes what must not pass from the client's connection to the app's, and reports whether the request is a
// WebSocket handshake, whose Upgrade alone is kept. Any other Upgrade is dropped, as RFC 9110 §7.8 allows, and the request
// answered as if it had not been asked for: an app that accepted "h2c" would turn the connection into a tunnel in which the
// client's next requests meet no rule at all ("h2c smuggling", Bishop Fox 2020).
func cleanHeader(r *http.Request) (webSocket bool) {
	webSocket = isWebSocket(r)
	trailers := hasToken(r.Header["Te"], "trailers")
	for _, name := range fieldset.HopByHop() {
		delete(r.Header, name)
	}
	if webSocket {
		r.Header["Connection"], r.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	}
	if trailers {
		r.Header["Te"] = []string{"trailers"} // gRPC servers insist on it
	}
	return webSocket
}

// isWebSocket reports whether r is an opening handshake of RFC 6455 §4.1. A body is not part of one: the app would take it
// for frames.
func isWebSocket(r *http.Request) bool {
	upgrade, key, version := r.Header["Upgrade"], r.Header["Sec-Websocket-Key"], r.Header["Sec-Websocket-Version"]
	if r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.ContentLength != 0 {
		return false
	}
	if len(upgrade) != 1 || len(key) != 1 || len(version) != 1 || version[0] != "13" {
		return false
	}
	nonce, err := base64.StdEncoding.DecodeString(key[0])
	return err == nil && len(nonce) == 16 && strings.EqualFold(upgrade[0], "websocket") && hasToken(r.Header["Connection"], "upgrade")
}

// hasToken looks a token up in a comma-separated list, ignoring case and parameters (TE: trailers;q=0.5).
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			item, _, _ = strings.Cut(item, ";")
			if strings.EqualFold(strings.Trim(item, " \t"), token) {
				return true
			}
		}
	}
	return false
}
