package accesslog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
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

// LogConfig configures a Log.
type LogConfig struct {
	Mode Mode
	// Logger is required.
	Logger *slog.Logger
	// SampleRatio is the share of successful requests that are logged, from 0 to 1.
	SampleRatio float64
	// Omit are fields that are left out, by their names in FormatPostern.
	Omit   []string
	Format Format
}

// Log is a sink of events. It writes one line for each request, at info level.
type Log struct {
	cfg   LogConfig
	names names
	// random returns a number from 0 to 1, without 1.
	random func() float64
}

// NewLog returns the access log of a policy.
func NewLog(c LogConfig) (*Log, error) {
	if c.Mode != LogAll && c.Mode != LogErrors && c.Mode != LogNone {
		return nil, fmt.Errorf("building access log: mode %.20q is not All, Errors or None", c.Mode)
	}
	if c.Logger == nil {
		return nil, errors.New("building access log: Logger is required")
	}
	if !(c.SampleRatio >= 0 && c.SampleRatio <= 1) {
		return nil, fmt.Errorf("building access log: the sample ratio %v is not between 0 and 1", c.SampleRatio)
	}
	n, err := namesOf(c.Format, c.Omit)
	if err != nil {
		return nil, err
	}
	return &Log{cfg: c, names: n, random: rand.Float64}, nil
}

// Kinds implements event.Sink.
func (l *Log) Kinds() event.Kinds { return event.Of(event.Request) }

// Record implements event.Sink. It never logs the query, because it may contain tokens, and of the header only the user agent.
func (l *Log) Record(e event.Event) {
	s := e.Served
	if s.Unlogged || !l.wants(s) {
		return
	}
	status := s.Status
	if s.ClientGone {
		status = statusClientGone
	}
	t := line{names: &l.names, attrs: make([]slog.Attr, 0, 26)}
	if l.cfg.Format == FormatECS {
		t.ecs(e)
	}
	t.text(fieldMethod, safe(s.Method, maxWord))
	t.text(fieldPath, safe(s.Path, maxPath))
	t.known(fieldRoute, s.Route())
	t.add(fieldStatus, slog.IntValue(status))
	t.add(fieldBytes, slog.Int64Value(s.Bytes))
	t.add(fieldDuration, l.duration(s.Elapsed))
	if l.cfg.Format != FormatECS || e.ClientAddr.IsValid() { // an empty text is no value of client.ip
		t.text(fieldClientAddr, addressText(e.ClientAddr))
	}
	t.known(fieldUserAgent, safe(e.UserAgent, maxWord))
	t.add(fieldPort, slog.IntValue(int(s.Port)))
	t.text(fieldProtocol, l.protocol(s.Protocol))
	t.text(fieldPolicy, e.Policy)
	t.known(fieldRequestID, e.RequestID)
	t.known(fieldTraceID, e.TraceID)
	if s.Aborted {
		t.add(fieldAborted, slog.BoolValue(true))
	}
	if s.Authenticated {
		t.actor(&e.Actor)
	}
	t.decisions(s.Decisions)
	if s.Err != nil {
		t.refusal(httperr.From(s.Err))
	}
	l.cfg.Logger.LogAttrs(context.Background(), slog.LevelInfo, "request", t.attrs...)
}

// duration is in milliseconds; in ECS in nanoseconds.
func (l *Log) duration(d time.Duration) slog.Value {
	if l.cfg.Format == FormatECS {
		return slog.Int64Value(d.Nanoseconds())
	}
	return slog.Float64Value(float64(d.Microseconds()) / 1000)
}

// protocol is HTTP/1.1 or such; in ECS its version.
func (l *Log) protocol(p string) string {
	if l.cfg.Format == FormatECS {
		p = strings.TrimPrefix(p, "HTTP/")
	}
	return p
}

// line are the fields of one line.
type line struct {
	names *names
	attrs []slog.Attr
}

func (t *line) add(f field, v slog.Value) {
	if name := t.names[f]; name != "" {
		t.attrs = append(t.attrs, slog.Attr{Key: name, Value: v})
	}
}

func (t *line) text(f field, s string) { t.add(f, slog.StringValue(s)) }

// known adds a text that is not empty.
func (t *line) known(f field, s string) {
	if s != "" {
		t.text(f, s)
	}
}

// ecs adds what every event has in ECS, in addition to the time, level and msg of the sidecar's other lines.
func (t *line) ecs(e event.Event) {
	outcome := "success"
	if e.Outcome != event.Success {
		outcome = "failure"
	}
	t.attrs = append(t.attrs, slog.Time("@timestamp", e.Time), slog.String("log.level", "info"), slog.String("message", "request"),
		slog.String("ecs.version", ecsVersion), slog.String("event.kind", "event"), slog.String("event.dataset", "postern.access"), slog.String("event.outcome", outcome))
}

func (t *line) actor(a *event.Actor) {
	t.text(fieldProvider, a.Provider)
	t.text(fieldSubject, safe(a.Subject, maxWord))
	t.known(fieldTokenID, safe(a.TokenID, maxWord))
}

func (t *line) refusal(refusal *httperr.Error) {
	t.text(fieldCode, string(refusal.Code))
	if refusal.Cause != nil {
		t.text(fieldCause, safe(refusal.Cause.Error(), maxCause))
	}
}

func (t *line) decisions(decisions []event.Decision) {
	if len(decisions) == 0 {
		return
	}
	list := make(decisionList, 0, len(decisions))
	for _, d := range decisions {
		entry := decision{Stage: d.Stage, Rule: d.Rule, Condition: d.Condition, Shadow: d.Shadow}
		if d.Err != nil {
			entry.Code = d.Err.Code
		}
		list = append(list, entry)
	}
	t.add(fieldDecisions, slog.AnyValue(list))
}

func (l *Log) wants(s *event.Served) bool {
	failed := s.Aborted || s.Status >= 400 || len(s.Decisions) > 0
	switch l.cfg.Mode {
	case LogAll:
		return failed || l.cfg.SampleRatio >= 1 || l.random() < l.cfg.SampleRatio
	case LogErrors:
		return failed
	}
	return s.Err != nil && httperr.From(s.Err).Status == http.StatusInternalServerError
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
