package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/posterndev/postern/api/compiled"
)

// rawHTTP2 is a client that sends any frames. Its dynamic table is in use.
type rawHTTP2 struct {
	t      *testing.T
	conn   net.Conn
	framer *http2.Framer
	block  bytes.Buffer
	fields *hpack.Encoder
	next   uint32
	// ended says that the server ends the connection, so writes may fail.
	ended bool
}

// answer is what came for a stream.
type answer struct {
	header map[string]string
	body   []byte
	reset  http2.ErrCode
	ended  bool
}

func dialHTTP2(t *testing.T, address string) *rawHTTP2 {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	c := &rawHTTP2{t: t, conn: conn, framer: http2.NewFramer(conn, conn), next: 1}
	c.framer.AllowIllegalWrites = true
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.fields = hpack.NewEncoder(&c.block)
	c.check(c.framer.WriteSettings())
	return c
}

func (c *rawHTTP2) check(err error) {
	c.t.Helper()
	if err != nil && !c.ended {
		c.t.Fatal(err)
	}
}

// encode returns a block of fields: pairs of name and value.
func (c *rawHTTP2) encode(fields ...string) []byte {
	c.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		c.check(c.fields.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	return bytes.Clone(c.block.Bytes())
}

// send sends a request without a body and returns its stream.
func (c *rawHTTP2) send(fields ...string) uint32 {
	c.t.Helper()
	return c.begin(http2.HeadersFrameParam{EndStream: true, EndHeaders: true, BlockFragment: c.encode(fields...)})
}

func (c *rawHTTP2) begin(p http2.HeadersFrameParam) uint32 {
	c.t.Helper()
	p.StreamID = c.next
	c.next += 2
	c.check(c.framer.WriteHeaders(p))
	return p.StreamID
}

// await reads until every one of the streams has ended, or the server ends the connection.
func (c *rawHTTP2) await(streams ...uint32) (answers map[uint32]*answer, goAway *http2.GoAwayFrame) {
	c.t.Helper()
	answers = map[uint32]*answer{}
	for _, s := range streams {
		answers[s] = &answer{header: map[string]string{}}
	}
	for left := len(streams); left > 0; {
		f, err := c.framer.ReadFrame()
		if err != nil {
			c.t.Fatalf("reading frame: %v", err)
		}
		if g, ok := f.(*http2.GoAwayFrame); ok && g.ErrCode != http2.ErrCodeNo {
			return answers, g
		}
		if s, ok := f.(*http2.SettingsFrame); ok && !s.IsAck() && !c.ended { // then another goroutine writes
			c.check(c.framer.WriteSettingsAck())
		}
		if a := answers[f.Header().StreamID]; a != nil && a.add(f) {
			left--
		}
	}
	return answers, nil
}

// add reports whether f ends the stream.
func (a *answer) add(f http2.Frame) bool {
	was := a.ended
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		for _, field := range f.Fields {
			a.header[field.Name] = field.Value
		}
		a.ended = a.ended || f.StreamEnded()
	case *http2.DataFrame:
		a.body = append(a.body, f.Data()...)
		a.ended = a.ended || f.StreamEnded()
	case *http2.RSTStreamFrame:
		if !a.ended {
			a.reset, a.ended = f.ErrCode, true
		}
	}
	return a.ended && !was
}

// ask is a good request.
func ask(path string, more ...string) []string {
	return append([]string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", path, "x-repeated", "same"}, more...)
}

// echoRequest responds with what the app sees of a request.
func echoRequest(arrived *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PRI" {
			return // the sidecar asks whether the app speaks HTTP/2
		}
		arrived.Add(1)
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s %s", r.Method, r.URL.Path, r.Header.Get("X-Repeated"), body, r.Trailer.Get("X-End"))
	}
}

// refusedHTTP2 are requests that net/http refuses by itself.
var refusedHTTP2 = map[string]struct {
	fields []string
	line   string
	code   string
}{
	"connection":            {ask("/c1", "connection", "close"), "method=GET path=/c1 status=400", "connection-header"},
	"keep-alive":            {ask("/c2", "keep-alive", "1"), "method=GET path=/c2 status=400", "connection-header"},
	"proxy-connection":      {ask("/c3", "proxy-connection", "close"), "method=GET path=/c3 status=400", "connection-header"},
	"transfer-encoding":     {ask("/c4", "transfer-encoding", "chunked"), "method=GET path=/c4 status=400", "connection-header"},
	"upgrade":               {ask("/c5", "upgrade", "websocket"), "method=GET path=/c5 status=400", "connection-header"},
	"te":                    {ask("/c6?token=secret", "te", "x"), "method=GET path=/c6 status=400", "connection-header"},
	"two te":                {ask("/c7", "te", "trailers", "te", "trailers"), "method=GET path=/c7 status=400", "connection-header"},
	"a broken escape":       {ask("/a%zz?token=secret"), "method=GET path=/a%zz status=400", "bad-path"},
	"a cut escape":          {ask("/b%"), "method=GET path=/b% status=400", "bad-path"},
	"no path":               {ask("!"), "method=GET path=! status=400", "bad-target"},
	"another path":          {ask(".git/config"), "method=GET path=.git/config status=400", "bad-target"},
	"an empty path":         {ask(""), `method=GET path="" status=400`, "malformed-pseudo-field"},
	"a control in the path": {ask("/ctl\x7f"), "status=400", "malformed-field-value"},
	"a list of lengths":     {ask("/l1", "content-length", "1, 1"), "method=GET path=/l1 status=400", "malformed-content-length"},
	"a huge length":         {ask("/l2", "content-length", "99999999999999999999"), "method=GET path=/l2 status=400", "malformed-content-length"},
	"the same length":       {ask("/l3", "content-length", "1", "content-length", "1"), "method=GET path=/l3 status=400", "duplicate-content-length"},
	"two lengths":           {ask("/l4", "content-length", "1", "content-length", "2"), "method=GET path=/l4 status=400", "duplicate-content-length"},
	"an uppercase name":     {ask("/n1", "X-Upper", "1"), "method=GET path=/n1 status=400", "malformed-field-name"},
	"an empty name":         {ask("/n2", "", "1"), "method=GET path=/n2 status=400", "malformed-field-name"},
	"a name with a space":   {ask("/n3", "x y", "1"), "method=GET path=/n3 status=400", "malformed-field-name"},
	"a line end in a value": {ask("/v1", "x", "a\r\nb: c"), "method=GET path=/v1 status=400", "malformed-field-value"},
	"a NUL in a value":      {ask("/v2", "x", "\x00"), "method=GET path=/v2 status=400", "malformed-field-value"},
	"an unknown pseudo":     {ask("/p0", ":odd", "1"), "method=GET path=/p0 status=400", "malformed-pseudo-field"},
	"a status":              {append([]string{":status", "200"}, ask("/p1")...), "method=GET path=/p1 status=400", "malformed-pseudo-field"},
	"a protocol":            {append([]string{":protocol", "websocket"}, ask("/p2")...), "method=GET path=/p2 status=400", "malformed-pseudo-field"},
	"two paths":             {append([]string{":path", "/p3"}, ask("/other")...), "method=GET path=/p3 status=400", "malformed-pseudo-field"},
	"a late pseudo":         {[]string{":method", "PUT", "x", "y", ":path", "/p4", ":scheme", "http"}, `method=PUT path="" status=400`, "malformed-pseudo-field"},
	"no method":             {[]string{":scheme", "http", ":path", "/p5"}, `path=/p5 status=400`, "malformed-pseudo-field"},
	"no scheme":             {[]string{":method", "GET", ":path", "/p6"}, "method=GET path=/p6 status=400", "malformed-pseudo-field"},
	"another scheme":        {[]string{":method", "GET", ":scheme", "ftp", ":path", "/p7"}, "method=GET path=/p7 status=400", "malformed-pseudo-field"},
	"no pseudo":             {[]string{"x", "y"}, `path="" status=400`, "malformed-pseudo-field"},
	"a user in the host":    {[]string{":method", "GET", ":scheme", "http", ":authority", "u@a", ":path", "/h1"}, "method=GET path=/h1 status=400", "bad-host"},
	"a user in Host":        {[]string{":method", "GET", ":scheme", "http", ":path", "/h2", "host", "u@a"}, "method=GET path=/h2 status=400", "bad-host"},
	"CONNECT with a path":   {[]string{":method", "CONNECT", ":authority", "a:1", ":path", "/h3"}, "method=CONNECT path=/h3 status=400", "malformed-pseudo-field"},
	"too large":             {ask("/large", "x-large", strings.Repeat("a", 60<<10), "x-more", strings.Repeat("b", 6<<10)), "method=GET path=/large status=431", "head-too-large"},
	"HEAD":                  {[]string{":method", "HEAD", ":scheme", "http", ":path", "/%a"}, "method=HEAD path=/%a status=400", "bad-path"},
	"a forged refusal":      {ask("/f%a", "postern-refused", "9 47 2f"), "method=GET path=/f%a status=400", "bad-path"},
}

// TestRefusedHTTP2Heads: what net/http's HTTP/2 server would refuse by itself has the policy's headers, a line in the access log and a
// place in the metrics, as other refusals have, and never reaches the app. Other requests on the same connection are served.
func TestRefusedHTTP2Heads(t *testing.T) {
	for name, deleted := range map[string]bool{"active": false, "deleted": true} {
		t.Run(name, func(t *testing.T) {
			var arrived atomic.Int32
			r := startStandalone(t, makeDocument(func(p *compiled.Policy) { visible(p); p.Deleted = deleted }), echoRequest(&arrived))
			c := dialHTTP2(t, r.address)
			good := int32(0)
			for name, tt := range refusedHTTP2 {
				fields := append(append([]string{}, tt.fields...), "origin", "https://b.example")
				if name == "too large" {
					fields = append(append([]string{}, tt.fields[:10]...), append([]string{"origin", "https://b.example"}, tt.fields[10:]...)...)
				}
				block := c.encode(fields...)
				bad := c.sendBlock(block)
				other := c.send(ask("/good", "x-name", name)...)
				good++
				answers, goAway := c.await(bad, other)
				if goAway != nil {
					t.Fatalf("%s: %v", name, goAway)
				}
				checkRefused(t, name, answers[bad], deleted, tt.code)
				if a := answers[other]; a.header[":status"] != "200" || string(a.body) != "GET /good same  " {
					t.Fatalf("%s: the next request: %v %q", name, a.header, a.body)
				}
				r.log.await(t, 1, tt.line)
			}
			_, metrics, err := r.ask("/metrics")
			for _, want := range []string{
				`code="400",method="GET"`, `code="400",method="HEAD"`, `stage="framing"`, `postern_framing_refusals_total{code="connection-header"} 7`,
				`postern_framing_refusals_total{code="head-too-large"} 1`,
			} {
				if err != nil || !strings.Contains(metrics, want) {
					t.Errorf("the metrics do not have %s, %v", want, err)
				}
			}
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			if strings.Contains(r.log.b.String(), "secret") {
				t.Error("the log has a query")
			}
			if arrived.Load() != good {
				t.Errorf("%d requests reached the app, want %d", arrived.Load(), good)
			}
		})
	}
}

// sendBlock sends a block in frames of at most 16 KiB.
func (c *rawHTTP2) sendBlock(block []byte) uint32 {
	c.t.Helper()
	part := block[:min(len(block), 16<<10)]
	stream := c.begin(http2.HeadersFrameParam{EndStream: true, EndHeaders: len(part) == len(block), BlockFragment: part})
	for block = block[len(part):]; len(block) > 0; block = block[len(part):] {
		part = block[:min(len(block), 16<<10)]
		c.check(c.framer.WriteContinuation(stream, len(part) == len(block), part))
	}
	return stream
}

func checkRefused(t *testing.T, name string, a *answer, deleted bool, code string) {
	t.Helper()
	if h := a.header; !deleted && (h["x-policy"] != "here" || h["access-control-allow-origin"] != "https://b.example") {
		t.Errorf("%s: %v", name, h)
	}
	if a.reset != 0 || a.header["content-type"] != "application/problem+json" {
		t.Errorf("%s: %v, reset %v", name, a.header, a.reset)
	}
	if name == "HEAD" {
		if len(a.body) > 0 {
			t.Errorf("HEAD has a body: %s", a.body)
		}
		return
	}
	var problem struct{ Type string }
	if err := json.Unmarshal(a.body, &problem); err != nil || !strings.HasSuffix(problem.Type, code) {
		t.Errorf("%s: %s, want %s", name, a.body, code)
	}
}

// TestRefusedHTTP2Body: nothing gets the body of a refused request, and a client that sends one gets the refusal. A gRPC caller gets an
// error of gRPC.
func TestRefusedHTTP2Body(t *testing.T) {
	var arrived atomic.Int32
	r := startStandalone(t, makeDocument(visible), echoRequest(&arrived))
	c := dialHTTP2(t, r.address)
	bad := c.begin(http2.HeadersFrameParam{EndHeaders: true, BlockFragment: c.encode(append([]string{":method", "POST"}, ask("/body%", "content-length", "5", "content-type", "application/grpc", "te", "trailers")[2:]...)...)})
	_ = c.framer.WriteData(bad, true, []byte("hello"))
	answers, goAway := c.await(bad)
	if a := answers[bad]; goAway != nil || a.header[":status"] != "200" || a.header["grpc-status"] == "" || a.header["grpc-status"] == "0" {
		t.Errorf("%v, %v", a.header, goAway)
	}
	r.log.await(t, 1, "path=/body%")
	_ = r.stop()
	if arrived.Load() > 0 {
		t.Error("the request reached the app")
	}
}

// TestHTTP2FieldsArePassed: requests whose blocks are split at every byte, padded, or with a priority, with trailers and with changes of
// the dynamic table's size arrive as they were sent.
func TestHTTP2FieldsArePassed(t *testing.T) {
	var arrived atomic.Int32
	r := startStandalone(t, makeDocument(nil), echoRequest(&arrived))
	c := dialHTTP2(t, r.address)
	want := func(streams []uint32, body string) {
		t.Helper()
		answers, goAway := c.await(streams...)
		for stream, a := range answers {
			if goAway != nil || a.header[":status"] != "200" || string(a.body) != body {
				t.Fatalf("stream %d: %v %q, %v, want %q", stream, a.header, a.body, goAway, body)
			}
		}
	}
	block := c.encode(ask("/split", "x-first", "value")...)
	stream := c.begin(http2.HeadersFrameParam{EndStream: true, BlockFragment: block[:1]})
	for i := 1; i < len(block); i++ {
		c.check(c.framer.WriteContinuation(stream, i == len(block)-1, block[i:i+1]))
	}
	want([]uint32{stream}, "GET /split same  ")

	var streams []uint32
	for i := range 8 {
		c.fields.SetMaxDynamicTableSize(uint32(i) * 60)
		streams = append(streams, c.begin(http2.HeadersFrameParam{
			EndStream: true, EndHeaders: true, PadLength: uint8(i * 30), Priority: http2.PriorityParam{StreamDep: 0, Weight: uint8(i)},
			BlockFragment: c.encode(ask("/padded", "x-second", "value")...),
		}))
	}
	want(streams, "GET /padded same  ")

	stream = c.begin(http2.HeadersFrameParam{EndHeaders: true, BlockFragment: c.encode(append([]string{":method", "POST"}, ask("/trailer", "trailer", "x-end")[2:]...)...)})
	c.check(c.framer.WriteDataPadded(stream, false, []byte("body"), make([]byte, 7)))
	c.check(c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndStream: true, EndHeaders: true, BlockFragment: c.encode("x-end", "end")}))
	want([]uint32{stream}, "POST /trailer same body end")

	large := strings.Repeat("l", 60<<10)
	want([]uint32{c.sendBlock(c.encode(ask("/limit", "x-large", large)...))}, "GET /limit same  ")
}

// TestHTTP2StreamsBesideRefusals: 250 streams, of which every third is refused and every fifth is reset by the client.
func TestHTTP2StreamsBesideRefusals(t *testing.T) {
	var arrived atomic.Int32
	r := startStandalone(t, makeDocument(visible), echoRequest(&arrived))
	c := dialHTTP2(t, r.address)
	var good, bad []uint32
	for i := range 250 {
		switch {
		case i%3 == 0:
			bad = append(bad, c.send(ask("/many%", "origin", "https://b.example")...))
		case i%5 == 0:
			c.check(c.framer.WriteRSTStream(c.send(ask("/reset%")...), http2.ErrCodeCancel))
		default:
			good = append(good, c.send(ask("/many")...))
		}
	}
	answers, goAway := c.await(append(good, bad...)...)
	if goAway != nil {
		t.Fatal(goAway)
	}
	// A client may have at most half of the open requests, and every answer is one of the sidecar's.
	for _, stream := range bad {
		if a := answers[stream]; a.header["x-policy"] != "here" || a.header[":status"] != "400" && a.header[":status"] != "429" && a.header[":status"] != "503" {
			t.Fatalf("stream %d: %v, reset %v", stream, a.header, a.reset)
		}
	}
	for _, stream := range good {
		if a := answers[stream]; a.header[":status"] != "200" && a.header[":status"] != "429" && a.header[":status"] != "503" {
			t.Fatalf("stream %d: %v, reset %v", stream, a.header, a.reset)
		}
	}
	if n := arrived.Load(); int(n) > len(good) || n == 0 {
		t.Errorf("%d requests reached the app, want at most %d", n, len(good))
	}
}

// TestBrokenHTTP2Connections: after bytes that cannot be followed, the connection ends with GOAWAY, and the metrics say why.
func TestBrokenHTTP2Connections(t *testing.T) {
	r := startStandalone(t, makeDocument(nil), http.NotFoundHandler())
	tests := map[string]struct {
		send func(*rawHTTP2)
		want http2.ErrCode
		code string
	}{
		"a malformed block": {func(c *rawHTTP2) {
			c.begin(http2.HeadersFrameParam{EndHeaders: true, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff}})
		}, http2.ErrCodeCompression, "malformed-field-block"},
		"an unknown index": {func(c *rawHTTP2) { c.begin(http2.HeadersFrameParam{EndHeaders: true, BlockFragment: []byte{0xfe}}) }, http2.ErrCodeCompression, "malformed-field-block"},
		"another frame in a block": {func(c *rawHTTP2) {
			c.begin(http2.HeadersFrameParam{BlockFragment: c.encode(ask("/")...)})
			c.check(c.framer.WritePing(false, [8]byte{}))
		}, http2.ErrCodeProtocol, "malformed-frame"},
		"a flood of CONTINUATION": {func(c *rawHTTP2) {
			stream := c.begin(http2.HeadersFrameParam{BlockFragment: c.encode(ask("/")...)})
			for range 1025 {
				c.check(c.framer.WriteContinuation(stream, false, nil))
			}
		}, http2.ErrCodeProtocol, "malformed-frame"},
		"a long frame": {func(c *rawHTTP2) {
			c.check(c.framer.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, make([]byte, 16<<10+1)))
		}, http2.ErrCodeFrameSize, "malformed-frame"},
		"too much padding": {func(c *rawHTTP2) {
			c.check(c.framer.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersPadded, 1, []byte{9, 1}))
		}, http2.ErrCodeProtocol, "malformed-frame"},
		"a huge field": {func(c *rawHTTP2) { c.sendBlock(c.encode(ask("/", "x", strings.Repeat("\x01", 66<<10))...)) }, http2.ErrCodeProtocol, "head-too-large"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before := r.refusals(t, tt.code)
			c := dialHTTP2(t, r.address)
			c.ended = true
			go tt.send(c)
			if _, goAway := c.await(1 << 20); goAway == nil || goAway.ErrCode != tt.want {
				t.Errorf("%v, want %v", goAway, tt.want)
			}
			if after := r.refusals(t, tt.code); after == before {
				t.Errorf("%s is not counted: %s", tt.code, after)
			}
		})
	}
}

// refusals returns the line of the metric.
func (r *running) refusals(t *testing.T, code string) string {
	t.Helper()
	_, metrics, err := r.ask("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, `postern_framing_refusals_total{code="`+code+`"}`) {
			return line
		}
	}
	return ""
}

// TestBodiesOfRefusedHTTP2RequestsReturnTheirWindow: more bytes than the connection's window has can be sent to refused requests.
func TestBodiesOfRefusedHTTP2RequestsReturnTheirWindow(t *testing.T) {
	var arrived atomic.Int32
	r := startStandalone(t, makeDocument(visible), echoRequest(&arrived))
	c := dialHTTP2(t, r.address)
	c.check(c.framer.WriteWindowUpdate(0, 1<<20)) // for the bodies of the responses
	part := make([]byte, 15<<10)
	for sent := 0; sent < maxStreams*streamWindow+1<<20; {
		bad := c.begin(http2.HeadersFrameParam{EndHeaders: true, BlockFragment: c.encode(append([]string{":method", "POST"}, ask("/body%", "content-type", "text/plain")[2:]...)...)})
		for range 4 {
			_ = c.framer.WriteData(bad, false, part)
			sent += len(part)
		}
		answers, goAway := c.await(bad)
		if goAway != nil || answers[bad].header[":status"] != "400" {
			t.Fatalf("after %d bytes: %v, %v", sent, answers[bad].header, goAway)
		}
	}
	good := c.begin(http2.HeadersFrameParam{EndHeaders: true, EndStream: true, BlockFragment: c.encode(ask("/after")...)})
	if answers, goAway := c.await(good); goAway != nil || answers[good].header[":status"] != "200" {
		t.Errorf("%v, %v", answers[good].header, goAway)
	}
	_ = r.stop()
}
