package ratelimit

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/jsonscan"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/ratelimit/gcra"
)

// CostFrom is where the app's response has the cost of a request: one of the two. If a response has none, is not 2xx,
// or cannot be read, the cost is 1.
type CostFrom struct {
	// JSON is the path of a number in the body.
	JSON []string
	// Header is the name of a response header, or of a trailer.
	Header string
}

func (f *CostFrom) check(r *Rule) error {
	switch {
	case f == nil:
		return nil
	case r.Cost != 0 || r.Debt != 0:
		return errors.New("a cost from the response excludes a fixed cost and a debt")
	case (len(f.JSON) > 0) == (f.Header != ""):
		return errors.New("a cost from the response needs either a path in its JSON or a header")
	case f.Header != "":
		return check.FieldName(f.Header)
	}
	return check.JSONPath(strings.Join(f.JSON, "."))
}

// debtQuotas is how many times the quota the responses in progress may use beyond it. More is not charged.
const debtQuotas = 10

// costDebt is the debt of a limit whose costs come from responses. It is less if that debt would last for too long.
func costDebt(p Plan, rate gcra.Rate) int {
	quota := max(p.Limit, p.Burst)
	return min(debtQuotas*quota, int(check.MaxRateSpan/rate.Emission)-rate.Burst)
}

// Charges returns the stage that charges the costs of responses. It must be next to the stages that respond, so that it
// sees the app's own bytes: after the stages that change them. It returns nil if no rule needs it.
//
// The request asks the app for an unencoded and complete body, because the number is in it. A response is charged once,
// when it has ended, also if it breaks off or the client disconnects: with what it has said until then. The stage
// refuses nothing. If the store is unavailable, the local store counts.
func (l *Limiter) Charges() stage.Stage {
	if len(l.charged) == 0 {
		return nil
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			hits := hitsOf(r, request.From(r), l.charged)
			if len(hits) == 0 {
				return next.ServeHTTP(w, r)
			}
			m := newMeter(w, hits)
			defer func() { l.settle(r, hits, m) }() // also if the proxy panics, because the app's response broke off
			return next.ServeHTTP(m, m.plain(r))
		})
	}
}

// settle charges the costs of a response.
func (l *Limiter) settle(r *http.Request, hits []hit, m *meter) {
	var payers []hit
	var requests []Request
	for i, request := range requestsOf(request.From(r), hits) {
		cost, found := m.cost(i)
		l.metrics.charge(found)
		if cost == 0 {
			continue
		}
		request.Cost = cost
		payers, requests = append(payers, hits[i]), append(requests, request)
	}
	if len(requests) == 0 {
		return
	}
	if err := l.charge(r, payers, requests); err != nil {
		l.metrics.lose(len(requests))
		l.logLoss(r.Context(), "limit", payers[0].rule.name, "cost", requests[0].Cost, "error", err)
	}
}

// lossLogEvery is the minimum pause between two warnings about lost charges: an outage affects all of them.
const lossLogEvery = time.Minute

func (l *Limiter) logLoss(ctx context.Context, attributes ...any) {
	now, last := l.now().Unix(), l.lossLogged.Load()
	if now-last >= int64(lossLogEvery/time.Second) && l.lossLogged.CompareAndSwap(last, now) {
		l.logger.WarnContext(ctx, "the cost of a response was not charged in the shared store", attributes...)
	}
}

// reader finds a cost in a body.
type reader interface {
	Write(p []byte)
	Cost() (cost int, found bool)
}

// meter reads the costs of a response while it passes.
type meter struct {
	response.Writer
	hits []hit
	// successful says that the status is 2xx, or 304 for a cost in the header: the app has computed the response then too.
	successful bool
	// readers and costs have the index of the hit. A reader is nil if the cost is not in the body, and a cost is nil if
	// the header does not have it.
	readers []reader
	costs   []*int
}

func newMeter(w http.ResponseWriter, hits []hit) *meter {
	m := &meter{Writer: response.Writer{ResponseWriter: w}, hits: hits, readers: make([]reader, len(hits)), costs: make([]*int, len(hits))}
	m.OnHeader = m
	return m
}

// plain returns the request that the app gets. It asks for a response that says what it cost, whatever the client asked for.
func (m *meter) plain(r *http.Request) *http.Request {
	out := new(http.Request)
	*out = *r
	out.Header = r.Header.Clone()
	for _, h := range m.hits {
		if h.rule.costFrom.Header != "" {
			out.Header.Set("Te", "trailers") // an app need not send a trailer to who does not ask for it (RFC 9110 §6.5.1)
		} else {
			wholeBody(r.Method, out.Header)
		}
	}
	return out
}

// wholeBody changes the header of a request so that the body of the response arrives as it is and from its beginning to its end. The
// conditions of a safe request go too: many apps compute the whole body before they find that the client has it. Other methods keep them,
// because they guard a change.
func wholeBody(method string, h http.Header) {
	h.Set("Accept-Encoding", "identity")
	h.Del("Range")
	h.Del("If-Range")
	if method != http.MethodGet && method != http.MethodHead {
		return
	}
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		h.Del(name)
	}
}

// BeforeHeader reads the costs in the header, and chooses how the body is read.
func (m *meter) BeforeHeader(status int) {
	h := m.Header()
	if m.successful = status >= 200 && status <= 299 || status == http.StatusNotModified; !m.successful {
		return
	}
	encoding := h.Get("Content-Encoding")
	encoded := encoding != "" && !strings.EqualFold(encoding, "identity")
	mediaType, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	events := strings.EqualFold(strings.TrimSpace(mediaType), "text/event-stream")
	for i, hit := range m.hits {
		from := hit.rule.costFrom
		if from.Header != "" {
			m.costs[i] = headerCost(h, from.Header)
			continue
		}
		if encoded {
			continue
		}
		scanner := jsonscan.New(from.JSON)
		if m.readers[i] = scanner; events {
			m.readers[i] = jsonscan.NewEvents(scanner)
		}
	}
}

// Write passes p on and reads it.
func (m *meter) Write(p []byte) (int, error) {
	n, err := m.Writer.Write(p)
	for _, r := range m.readers {
		if r != nil {
			r.Write(p)
		}
	}
	return n, err
}

// cost returns what hit i costs, and whether the response says so. Call it when the response has ended.
func (m *meter) cost(i int) (int, bool) {
	if !m.successful {
		return 1, false
	}
	if r := m.readers[i]; r != nil {
		if cost, found := r.Cost(); found {
			return cost, true
		}
		return 1, false
	}
	name := m.hits[i].rule.costFrom.Header
	if m.costs[i] == nil && name != "" { // a trailer
		if m.costs[i] = headerCost(m.Header(), http.TrailerPrefix+name); m.costs[i] == nil {
			m.costs[i] = headerCost(m.Header(), name)
		}
	}
	if m.costs[i] == nil {
		return 1, false
	}
	return *m.costs[i], true
}

// headerCost returns the number in the only line of a field, or nil.
func headerCost(h http.Header, name string) *int {
	lines := h[name]
	if len(lines) != 1 {
		return nil
	}
	cost, ok := jsonscan.Number([]byte(strings.TrimSpace(lines[0])))
	if !ok {
		return nil
	}
	return &cost
}
