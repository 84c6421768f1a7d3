package accesslog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// Mode says which requests are logged.
type Mode string

// The modes. A panic or an unexpected error of the sidecar is logged in each of them.
const (
	// LogAll logs every request.
	LogAll Mode = "All"
	// LogErrors logs requests with a status of 400 or above, aborted responses, and refusals by a rule, also in
	// shadow mode.
	LogErrors Mode = "Errors"
	// LogNone logs no request.
	LogNone Mode = "None"
)

const (
	// statusClientGone is recorded if the client disconnected during the response. The number is nginx's.
	statusClientGone = 499
	// maxPath, maxWord and maxCause bound the texts of a request or an error in one log line, in bytes.
	maxPath  = 512
	maxWord  = 128
	maxCause = 1024
)

// decision is one entry of a log line.
type decision struct {
	Stage     string       `json:"stage"`
	Rule      string       `json:"rule,omitempty"`
	Condition string       `json:"condition,omitempty"`
	Code      httperr.Code `json:"code"`
	Shadow    bool         `json:"shadow"`
}

// decisionList is the value of the field decisions. A JSON handler writes it as an array of objects, any other handler as the
// text of String.
type decisionList []decision

// String returns the decisions for people, such as "authz/admins: forbidden, ratelimit/login: rate-limited (shadow)".
func (l decisionList) String() string {
	var b strings.Builder
	for i, d := range l {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(d.Stage)
		if d.Rule != "" {
			b.WriteString("/" + d.Rule)
		}
		b.WriteString(": " + string(d.Code))
		if d.Condition != "" {
			b.WriteString(" by " + d.Condition)
		}
		if d.Shadow {
			b.WriteString(" (shadow)")
		}
	}
	return b.String()
}

// Log is a sink of events. It writes one line for each request, at info level.
type Log struct {
	mode   Mode
	logger *slog.Logger
}

// NewLog returns the access log of a policy.
func NewLog(mode Mode, logger *slog.Logger) (*Log, error) {
	if mode != LogAll && mode != LogErrors && mode != LogNone {
		return nil, fmt.Errorf("building access log: mode %.20q is not All, Errors or None", mode)
	}
	if logger == nil {
		return nil, errors.New("building access log: Logger is required")
	}
	return &Log{mode: mode, logger: logger}, nil
}

// Kinds implements event.Sink.
func (l *Log) Kinds() event.Kinds { return event.Of(event.Request) }

// Record implements event.Sink. It never logs the query, because it may contain tokens, and never logs headers.
func (l *Log) Record(e event.Event) {
	s := e.Served
	if s.Unlogged || !l.wants(s) {
		return
	}
	status := s.Status
	if s.ClientGone {
		status = statusClientGone
	}
	attrs := make([]slog.Attr, 0, 18)
	attrs = append(attrs,
		slog.String("method", safe(s.Method, maxWord)),
		slog.String("path", safe(s.Path, maxPath)),
		slog.Int("status", status),
		slog.Int64("bytes", s.Bytes),
		slog.Float64("durationMs", float64(s.Elapsed.Microseconds())/1000),
		slog.String("clientAddr", addressText(e.ClientAddr)),
		slog.Int("port", int(s.Port)),
		slog.String("protocol", s.Protocol),
		slog.String("policy", e.Policy),
		slog.String(request.LogRequestID, e.RequestID),
	)
	if e.TraceID != "" {
		attrs = append(attrs, slog.String(request.LogTraceID, e.TraceID))
	}
	if s.Aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	if s.Authenticated {
		attrs = appendActor(attrs, &e.Actor)
	}
	attrs = appendDecisions(attrs, s.Decisions)
	if s.Err != nil {
		refusal := httperr.From(s.Err)
		attrs = append(attrs, slog.String("code", string(refusal.Code)))
		if refusal.Cause != nil {
			attrs = append(attrs, slog.String("cause", safe(refusal.Cause.Error(), maxCause)))
		}
	}
	l.logger.LogAttrs(context.Background(), slog.LevelInfo, "request", attrs...)
}

func (l *Log) wants(s *event.Served) bool {
	switch l.mode {
	case LogAll:
		return true
	case LogErrors:
		return s.Aborted || s.Status >= 400 || len(s.Decisions) > 0
	}
	return s.Err != nil && httperr.From(s.Err).Status == http.StatusInternalServerError
}

func appendActor(attrs []slog.Attr, a *event.Actor) []slog.Attr {
	attrs = append(attrs, slog.String("provider", a.Provider), slog.String("subject", safe(a.Subject, maxWord)))
	if a.TokenID != "" {
		attrs = append(attrs, slog.String("tokenId", safe(a.TokenID, maxWord)))
	}
	return attrs
}

func appendDecisions(attrs []slog.Attr, decisions []event.Decision) []slog.Attr {
	if len(decisions) == 0 {
		return attrs
	}
	list := make(decisionList, 0, len(decisions))
	for _, d := range decisions {
		entry := decision{Stage: d.Stage, Rule: d.Rule, Condition: d.Condition, Shadow: d.Shadow}
		if d.Err != nil {
			entry.Code = d.Err.Code
		}
		list = append(list, entry)
	}
	return append(attrs, slog.Any("decisions", list))
}

// addressText returns an empty text if the address is not known.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// safe bounds s to limit bytes and replaces what a terminal might interpret: control characters (also C1, which JSON
// does not escape), bidirectional overrides, and invalid UTF-8.
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

// plain reports whether s is printable ASCII, which is the usual case.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
