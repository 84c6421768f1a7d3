package accesslog

import (
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

const (
	// statusClientGone is logged where the client left in the middle of its answer; the number is nginx's.
	statusClientGone = 499
	// maxPath, maxWord and maxCause bound what one log line takes from a request or an error, in bytes.
	maxPath  = 512
	maxWord  = 128
	maxCause = 1024
)

// decision is one entry of a log line.
type decision struct {
	Stage  string       `json:"stage"`
	Rule   string       `json:"rule,omitempty"`
	Code   httperr.Code `json:"code"`
	Shadow bool         `json:"shadow"`
}

func (h *handler) wanted(rec *record) bool {
	switch h.cfg.AccessLog {
	case LogAll:
		return true
	case LogErrors:
		return rec.aborted || rec.w.status >= 400 || len(rec.info.Decisions) > 0
	}
	return rec.err != nil && httperr.From(rec.err).Status == http.StatusInternalServerError
}

// log writes the line. The query is never in it, since it may hold tokens; nor is any header.
func (h *handler) log(rec *record, r *http.Request, elapsed time.Duration) {
	path := rec.info.Path
	if path == "" {
		path = r.URL.Path // refused before it was normalised
	}
	status := rec.w.status
	if rec.clientGone {
		status = statusClientGone
	}
	attrs := make([]slog.Attr, 0, 18)
	attrs = append(attrs,
		slog.String("method", safe(r.Method, maxWord)),
		slog.String("path", safe(path, maxPath)),
		slog.Int("status", status),
		slog.Int64("bytes", rec.w.bytes),
		slog.Float64("durationMs", float64(elapsed.Microseconds())/1000),
		slog.String("clientAddr", clientAddr(rec.info.ClientAddr, r.RemoteAddr)),
		slog.Int("port", int(rec.info.Local.Port())),
		slog.String("protocol", r.Proto),
		slog.String("policy", h.cfg.Policy),
	)
	if rec.aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	attrs = appendIdentity(attrs, rec)
	attrs = appendDecisions(attrs, rec)
	if rec.err != nil {
		e := httperr.From(rec.err)
		attrs = append(attrs, slog.String("code", string(e.Code)))
		if e.Cause != nil {
			attrs = append(attrs, slog.String("cause", safe(e.Cause.Error(), maxCause)))
		}
	}
	h.cfg.Logger.LogAttrs(r.Context(), slog.LevelInfo, "request", attrs...)
}

func appendIdentity(attrs []slog.Attr, rec *record) []slog.Attr {
	id := rec.info.Identity
	if id == nil {
		return attrs
	}
	attrs = append(attrs, slog.String("provider", id.Provider), slog.String("subject", safe(id.Subject, maxWord)))
	if id.TokenID != "" {
		attrs = append(attrs, slog.String("tokenId", safe(id.TokenID, maxWord)))
	}
	return attrs
}

func appendDecisions(attrs []slog.Attr, rec *record) []slog.Attr {
	if len(rec.info.Decisions) == 0 {
		return attrs
	}
	list := make([]decision, 0, len(rec.info.Decisions))
	for _, d := range rec.info.Decisions {
		entry := decision{Stage: d.Stage, Rule: d.Rule, Shadow: d.Shadow}
		if d.Err != nil {
			entry.Code = d.Err.Code
		}
		list = append(list, entry)
	}
	return append(attrs, slog.Any("decisions", list))
}

// clientAddr is the client's address, or the connection's where no stage has found it out yet.
func clientAddr(known netip.Addr, remote string) string {
	if known.IsValid() {
		return known.String()
	}
	peer, err := netip.ParseAddrPort(remote)
	if err != nil {
		return ""
	}
	return peer.Addr().Unmap().String()
}

// safe bounds s to limit bytes, and replaces what a terminal might act on: control characters (C1 too, which JSON does
// not escape), bidirectional overrides, broken UTF-8.
func safe(s string, limit int) string {
	cut := len(s) > limit
	if cut {
		s = s[:limit]
	}
	if !plain(s) {
		s = strings.Map(func(c rune) rune {
			if unicode.IsPrint(c) {
				return c
			}
			return utf8.RuneError
		}, s)
	}
	if cut {
		s += "…"
	}
	return s
}

// plain reports whether s is printable ASCII, as nearly everything is.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
