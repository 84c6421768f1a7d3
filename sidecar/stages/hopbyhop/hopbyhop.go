// Package hopbyhop reads and removes the fields that concern only the client's connection to the sidecar, in one
// place and before any other stage reads or sets a field. It is the only stage that handles Connection, Upgrade and
// TE.
//
// After it, a request has no hop-by-hop field (RFC 9110 §7.6.1) except
//   - Connection: Upgrade and Upgrade: websocket, if the client sent a complete WebSocket handshake (RFC 6455
//     §4.1);
//   - TE: trailers, if the client sent it, because gRPC servers require it.
//
// Fields that Connection names are removed, as §7.6.1 requires, except those that the sidecar or an app relies on
// (fieldset.EndToEnd and the names given to New). Otherwise a client could delete a field that a proxy in front of
// the sidecar has set, or an identity header (golang/go#50580). Connection itself is removed, so no later proxy acts
// on it.
//
// Every Upgrade other than WebSocket is ignored, as RFC 9110 §7.8 allows, and the request is served without it. An
// app that accepted h2c or TLS would turn the connection into a tunnel whose requests no rule inspects ("h2c
// smuggling").
//
// HTTP/2 requests have no Connection and no Upgrade; the guard stage refuses those that do. This stage refuses
// nothing.
package hopbyhop

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/posterndev/postern/api/check/fieldset"
	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// cleaner holds the compiled names.
type cleaner struct{ hopByHop, protected field.Names }

// New returns the stage. Connection cannot remove the fields named by protected or by fieldset.EndToEnd. A name that
// ends in * is a prefix.
func New(protected []string) stage.Stage {
	c := &cleaner{
		hopByHop:  field.NewNames(fieldset.HopByHop()...),
		protected: field.NewNames(append(fieldset.EndToEnd(), protected...)...),
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			c.clean(r)
			return next.ServeHTTP(w, r)
		})
	}
}

func (c *cleaner) clean(r *http.Request) {
	webSocket, trailers := isWebSocket(r), hasToken(r.Header["Te"], "trailers")
	c.removeNamed(r.Header)
	for name := range r.Header {
		if mayBeHopByHop(name) && c.hopByHop.Has(name) {
			delete(r.Header, name)
		}
	}
	if webSocket {
		r.Header["Connection"], r.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	}
	if trailers {
		r.Header["Te"] = []string{"trailers"}
	}
}

// mayBeHopByHop avoids the look-up for most fields: it compares only the first letter with the names of
// fieldset.HopByHop.
func mayBeHopByHop(name string) bool {
	if name == "" {
		return false
	}
	switch name[0] | 0x20 {
	case 'c', 'p', 'k', 't', 'u', 'h':
		return true
	}
	return false
}

// removeNamed removes the fields that Connection names, in any case, but not variants with an underscore, which are
// other fields.
func (c *cleaner) removeNamed(h http.Header) {
	for option := range field.Elements(h["Connection"]) {
		if !c.protected.Has(option) && !c.hopByHop.Has(option) { // hop-by-hop fields are removed in any case
			delete(h, http.CanonicalHeaderKey(option))
		}
	}
}

// isWebSocket reports whether r is an opening handshake of RFC 6455 §4.1. A handshake has no body: the app would read
// a body as frames.
func isWebSocket(r *http.Request) bool {
	upgrade := r.Header["Upgrade"]
	if len(upgrade) != 1 { // most requests
		return false
	}
	key, version := r.Header["Sec-Websocket-Key"], r.Header["Sec-Websocket-Version"]
	if len(key) != 1 || len(version) != 1 || version[0] != "13" {
		return false
	}
	if r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.ContentLength != 0 {
		return false
	}
	nonce, err := base64.StdEncoding.DecodeString(key[0])
	return err == nil && len(nonce) == 16 && strings.EqualFold(upgrade[0], "websocket") && hasToken(r.Header["Connection"], "upgrade")
}

// hasToken reports whether a list contains a token, ignoring case and parameters (TE: trailers;q=0.5).
func hasToken(lines []string, token string) bool {
	for element := range field.Elements(lines) {
		element, _, _ = strings.Cut(element, ";")
		if strings.EqualFold(strings.TrimRight(element, " \t"), token) {
			return true
		}
	}
	return false
}
