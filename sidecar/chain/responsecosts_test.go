package chain

import (
	"compress/gzip"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// modelApp responds as a language model does, on /v1/chat. Everything else is loginApp. The query's "tokens" is what the model
// used, and "as" how the app responds.
func modelApp(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/v1/chat" {
		loginApp(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	q, flush := r.URL.Query(), http.NewResponseController(w).Flush
	usage := fmt.Sprintf(`"usage":{"prompt_tokens":7,"total_tokens":%s}}`, q.Get("tokens"))
	choices := `{"choices":[{"message":"` + strings.Repeat(`\"usage\":{\"total_tokens\":1} `, 2000) + `"}],`
	switch q.Get("as") {
	case "whole":
		_, _ = io.WriteString(w, choices+usage)
	case "willing": // encodes if the client may get it
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, choices+usage)
			_ = z.Close()
			return
		}
		_, _ = io.WriteString(w, choices+usage)
	case "ranges":
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(choices+usage))
	case "events", "broken", "waits":
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"choices\":[],\"usage\":null}\n\n")
		_ = flush()
		_, _ = io.WriteString(w, "event: usage\r\ndata: {"+usage+"\r\n\r\n")
		_ = flush()
		switch q.Get("as") {
		case "broken":
			panic(http.ErrAbortHandler)
		case "waits":
			<-r.Context().Done()
		}
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	case "header":
		w.Header().Set("X-Cost", q.Get("tokens"))
	case "conditional": // as Express does for every response to GET
		w.Header().Set("X-Cost", q.Get("tokens"))
		w.Header().Set("Etag", `"v1"`)
		http.ServeContent(w, r, "", time.Unix(1e9, 0), strings.NewReader(choices+usage))
	case "polite": // sends trailers only to who asks for them (RFC 9110 §6.5.1)
		if r.Header.Get("TE") == "trailers" {
			w.Header().Set("Trailer", "X-Cost")
		}
		_, _ = io.WriteString(w, choices+`"x":1}`)
		if r.Header.Get("TE") == "trailers" {
			w.Header().Set("X-Cost", q.Get("tokens"))
		}
	case "trailer":
		w.Header().Set("Trailer", "X-Cost")
		_, _ = io.WriteString(w, choices+`"x":1}`)
		w.Header().Set("X-Cost", q.Get("tokens"))
	case "none":
		_, _ = io.WriteString(w, `{"choices":[]}`)
	case "error":
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, "{"+usage)
	}
}

// modelPolicy has the limit of a model: 20000 an hour for each subject.
func modelPolicy(cost compiled.LimitCost, change func(*compiled.Policy)) func(*compiled.Policy) {
	return func(p *compiled.Policy) {
		p.RateLimits = []compiled.RateLimit{{
			Name: "model", Match: []compiled.Match{{Paths: []string{"/v1/chat"}}}, Limit: 20000, Period: compiled.Duration(time.Hour), Burst: 20000,
			KeyBy: []compiled.RateLimitKey{{Type: "Subject"}}, Mode: compiled.Enforce, OnFailure: compiled.Deny, Cost: &cost,
		}}
		if change != nil {
			change(p)
		}
	}
}

func newModelWorld(t *testing.T) *world {
	w := newWorld(t)
	w.app = httptest.NewServer(http.HandlerFunc(modelApp))
	t.Cleanup(w.app.Close)
	return w
}

// chat sends one request to the model.
func (s *sidecar) chat(t tokens, as string, used int, header http.Header) got {
	s.world.t.Helper()
	return s.send(sent{method: "GET", path: fmt.Sprintf("/v1/chat?as=%s&tokens=%d", as, used), bearer: t.access, header: header})
}

// left returns how much of the limit the subject has left, as it is known before a request is charged.
func (g got) left(t testing.TB) int {
	t.Helper()
	_, after, _ := strings.Cut(g.header.Get("RateLimit"), ";r=")
	text, _, _ := strings.Cut(after, ";")
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%d, RateLimit %q: %v", g.status, g.header.Get("RateLimit"), err)
	}
	return n
}

// TestTokensOfAModel: what the model used on one sidecar is used on the other.
func TestTokensOfAModel(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	json, header := compiled.LimitCost{ResponseJSON: "usage.total_tokens"}, compiled.LimitCost{ResponseHeader: "X-Cost"}
	tests := map[string]struct {
		cost   compiled.LimitCost
		as     string
		header http.Header
		want   int
	}{
		"a body":                        {cost: json, as: "whole", want: 7000},
		"a body, compressed for client": {cost: json, as: "whole", header: http.Header{"Accept-Encoding": {"gzip"}}, want: 7000},
		"an app that encodes":           {cost: json, as: "willing", header: http.Header{"Accept-Encoding": {"gzip"}}, want: 7000},
		"a part of a body":              {cost: json, as: "ranges", header: http.Header{"Range": {"bytes=0-1"}}, want: 7000},
		"events":                        {cost: json, as: "events", want: 7000},
		"no field":                      {cost: json, as: "none", want: 1},
		"an error":                      {cost: json, as: "error", want: 1},
		"a header":                      {cost: header, as: "header", want: 7000},
		"a trailer":                     {cost: header, as: "trailer", want: 7000},
		"a body that is not changed":    {cost: json, as: "conditional", header: http.Header{"If-None-Match": {"*"}}, want: 7000},
		"a body of a date":              {cost: json, as: "conditional", header: http.Header{"If-Modified-Since": {"Fri, 01 Jan 2100 00:00:00 GMT"}}, want: 7000},
		"a body of a condition":         {cost: json, as: "conditional", header: http.Header{"If-Match": {`"v0"`}}, want: 7000},
		"a header, not changed":         {cost: header, as: "conditional", header: http.Header{"If-None-Match": {"*"}}, want: 7000},
		"a trailer, on request":         {cost: header, as: "polite", want: 7000},
		"no header":                     {cost: header, as: "whole", want: 1},
	}
	w := newModelWorld(t)
	pair := func(cost compiled.LimitCost) []*sidecar {
		return w.sidecars(2, server.Addr, modelPolicy(cost, func(p *compiled.Policy) { p.Compression = &compiled.Compression{MinSize: 100} }))
	}
	pairs := map[compiled.LimitCost][]*sidecar{json: pair(json), header: pair(header)}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			both := []*sidecar{pairs[tt.cost][0].in(t), pairs[tt.cost][1].in(t)}
			ada := both[0].login(strings.ReplaceAll(name, " ", "-"))
			if g := both[0].chat(ada, tt.as, 7000, tt.header); g.left(t) != 20000 || g.header.Get("Content-Encoding") != tt.header.Get("Accept-Encoding") {
				t.Errorf("before: %d left, %v", g.left(t), g.header)
			}
			want := 20000 - tt.want
			// Each look costs 1, and 5.6 come back in a second.
			redistest.Eventually(t, "the charge", func() bool {
				left := both[1].chat(ada, "none", 0, nil).left(t)
				return left <= want && left >= want-1000
			})
		})
	}
}

// TestQuotaOfAModel: who has used the quota on one sidecar is refused by both. A stream that breaks off and a client that
// disconnects are charged too.
func TestQuotaOfAModel(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := newModelWorld(t)
	both := w.sidecars(2, server.Addr, modelPolicy(compiled.LimitCost{ResponseJSON: "usage.total_tokens"}, nil))
	for _, as := range []string{"whole", "events", "broken", "waits"} {
		t.Run(as, func(t *testing.T) {
			here, there := both[0].in(t), both[1].in(t)
			ada, bob := here.login("ada-"+as), here.login("bob-"+as)
			if err := here.hangUp(ada, as, 30000); err != nil {
				t.Fatal(err)
			}
			for _, s := range []*sidecar{here, there} {
				redistest.Eventually(t, "the refusal", func() bool { return s.chat(ada, "none", 0, nil).code() == "rate-limited" })
				if g := s.chat(bob, "none", 0, nil); g.status != http.StatusOK {
					t.Errorf("another subject: %d %s", g.status, g.text)
				}
				if g := s.use(ada); g.status != http.StatusOK {
					t.Errorf("another route: %d %s", g.status, g.text)
				}
			}
			wait, err := strconv.Atoi(there.chat(ada, "none", 0, nil).header.Get("Retry-After"))
			if err != nil || wait < 1700 || wait > 1810 { // 10000 tokens beyond the quota take half an hour
				t.Errorf("Retry-After %d, %v", wait, err)
			}
		})
	}
}

// hangUp reads a response up to its usage, or to its end, and disconnects.
func (s *sidecar) hangUp(t tokens, as string, used int) error {
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/v1/chat?as=%s&tokens=%d", s.url, as, used), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+t.access)
	resp, err := roundTripper.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	var text strings.Builder
	for piece := make([]byte, 512); !strings.Contains(text.String(), strconv.Itoa(used)); {
		n, err := resp.Body.Read(piece)
		text.Write(piece[:n])
		if err != nil && !strings.Contains(text.String(), strconv.Itoa(used)) {
			return fmt.Errorf("reading %q: %w", text.String(), err)
		}
	}
	return nil
}

// TestModelWithoutRedis: Redis is away when the response is charged. The response is the client's, and the loss is visible.
func TestModelWithoutRedis(t *testing.T) {
	t.Parallel()
	for _, onFailure := range []compiled.FailureMode{compiled.Allow, compiled.Deny} {
		t.Run(string(onFailure), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, redistest.Options{})
			w, log := newWorld(t), &logtest.Buffer{}
			w.app = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v1/chat" {
					server.Stop()
				}
				modelApp(w, r)
			}))
			t.Cleanup(w.app.Close)
			w.log, w.registry = slog.New(slog.NewTextHandler(log, nil)), prometheus.NewRegistry()
			s := w.sidecars(1, server.Addr, modelPolicy(compiled.LimitCost{ResponseJSON: "usage.total_tokens"}, func(p *compiled.Policy) {
				p.RateLimits[0].OnFailure = onFailure
				p.Revocation.OnFailure, p.Sessions.OnFailure = compiled.Allow, compiled.Allow
			}))[0]
			ada := s.login("ada")
			if g := s.chat(ada, "whole", 30000, nil); g.status != http.StatusOK {
				t.Fatalf("%d %s", g.status, g.text)
			}
			redistest.Eventually(t, "the loss in the log", func() bool { return strings.Contains(log.String(), "not charged in the shared store") })
			if g := s.chat(ada, "whole", 0, nil); g.code() != "rate-limited" { // this sidecar remembers
				t.Errorf("%d %s", g.status, g.text)
			}
		})
	}
}
