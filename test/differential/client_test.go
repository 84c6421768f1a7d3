package differential

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/posterndev/postern/test/differential/stdproxy/framing"
)

// patience bounds every wait, by the clock of the bubble. A side that is still waiting after it has failed to respond. It is longer than what
// a proxy waits for in a case, and differs from those times.
const patience = 7 * time.Second

// A case is what a client sends, and how the app responds.
type testCase struct {
	name string
	// bytes are everything that the client sends.
	bytes string
	// sequential sends each request after the response to the one before it.
	sequential bool
	// splits are positions at which bytes are sent in several writes, in order.
	splits  []int
	replies []reply
	// document is the name of the policy that is enforced.
	document string
}

// canary is a request on a connection of its own, after a case. It gets another request's response if a connection to the app is confused.
const (
	canary        = "/canary"
	canaryRequest = "GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n"
	canaryReply   = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ncanary"
)

// A response is one response as it was received.
type response struct {
	line   string
	fields []string
	body   string
	// cut says that it ended early.
	cut     bool
	trailer []string
	// own says that it is what the sidecar says by itself, and not compared.
	own bool
	// method is that of the request, expected says that it has an expectation, and asked that it asks to close the connection. They are not
	// compared.
	method          string
	expected, asked bool
}

// An outcome is what a client and the app saw.
type outcome struct {
	responses []response
	// fate is what became of the client's connection.
	fate string
	seen []request
	// canary is the response to the canary.
	canary string
	// lost says that the head of a response was not sent; it is not compared.
	lost bool
	// stuck says that a request was still open at the app at the end.
	stuck bool
}

// String returns the outcome as text that can be compared line by line.
func (o outcome) String() string {
	var b strings.Builder
	for _, r := range o.responses {
		fmt.Fprintf(&b, "< %s\n", r.line)
		for _, f := range r.fields {
			fmt.Fprintf(&b, "<   %s\n", f)
		}
		fmt.Fprintf(&b, "<   body %q\n", shorten([]byte(r.body)))
		if r.cut {
			b.WriteString("<   cut\n")
		}
		for _, f := range r.trailer {
			fmt.Fprintf(&b, "<   trailer %s\n", f)
		}
	}
	fmt.Fprintf(&b, "connection %s\n", o.fate)
	for _, s := range o.seen {
		fmt.Fprintf(&b, "> %s\n", strings.ReplaceAll(s.String(), "\n", "\n>   "))
	}
	fmt.Fprintf(&b, "canary %s\n", o.canary)
	if o.stuck {
		b.WriteString("a request is still open at the app\n")
	}
	return b.String()
}

// equal reports whether nothing differs.
func (o *outcome) equal(p *outcome) bool {
	return o.fate == p.fate && o.canary == p.canary && o.stuck == p.stuck && slices.EqualFunc(o.responses, p.responses, response.equal) &&
		slices.EqualFunc(o.seen, p.seen, request.equal)
}

func (r response) equal(s response) bool {
	return r.line == s.line && r.body == s.body && r.cut == s.cut && slices.Equal(r.fields, s.fields) && slices.Equal(r.trailer, s.trailer)
}

// clone returns a copy that can be changed without a change of o.
func (o *outcome) clone() *outcome {
	p := *o
	p.responses, p.seen = slices.Clone(o.responses), slices.Clone(o.seen)
	for i := range p.responses {
		r := &p.responses[i]
		r.fields, r.trailer = slices.Clone(r.fields), slices.Clone(r.trailer)
	}
	for i := range p.seen {
		r := &p.seen[i]
		r.header, r.trailer = r.header.Clone(), r.trailer.Clone()
	}
	return &p
}

// asRead returns a copy in which the requests are as net/http reads them.
func (o *outcome) asRead() *outcome {
	p := o.clone()
	for i := range p.seen {
		if p.seen[i].line != "" {
			p.seen[i].sent = ""
		}
	}
	return p
}

// shorten replaces a long text by its length and hash.
func shorten(b []byte) string {
	if len(b) < 1000 {
		return string(b)
	}
	return fmt.Sprintf("%s… %d bytes %x", b[:20], len(b), sha256.Sum256(b))
}

// client is one connection.
type client struct {
	conn   *conn
	reader *bufio.Reader
	out    *outcome
	// direct says that the server is the app itself, whose chunks need not be as the sidecar writes them. expects says that the request has an
	// expectation, and asked that it asks to close the connection.
	direct, expects, asked bool
}

// connect opens a connection to addr.
func (n *network) connect(addr string, out *outcome) (*client, error) {
	c, err := n.dial(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	return &client{conn: c.(*conn), reader: bufio.NewReader(c), out: out}, nil
}

// run sends a case to addr, and returns what the client saw.
func (n *network) run(addr string, c *testCase) *outcome {
	out := &outcome{}
	x, err := n.connect(addr, out)
	if err != nil {
		out.fate = "refused: " + err.Error()
		return out
	}
	defer x.conn.Close()
	x.converse(c, framing.Read([]byte(c.bytes)))
	return out
}

// converse sends the requests and reads the responses until the fate of the connection is known.
func (x *client) converse(c *testCase, plan framing.Plan) {
	if !c.sequential {
		x.write([]byte(c.bytes), c.splits)
	}
	at := 0
	for _, message := range plan.Messages {
		if c.sequential {
			x.write(message, nil)
			at += len(message)
		}
		method, _, _ := strings.Cut(string(message), " ")
		if !x.final(method) {
			return
		}
	}
	if c.sequential && at < len(c.bytes) {
		x.write([]byte(c.bytes)[at:], nil)
	}
	x.end(plan)
}

// end finds out what becomes of the connection after everything was sent.
func (x *client) end(plan framing.Plan) {
	switch {
	case plan.Refused:
		method, _, _ := strings.Cut(string(plan.Rest), " ")
		x.rest(method)
	case len(plan.Rest) > 0:
		time.Sleep(shortPause)
		_ = x.conn.CloseWrite()
		x.rest("GET")
	default:
		x.probe()
	}
}

// write sends b, in a write for each part. Before each, all that follows from what was sent has happened.
func (x *client) write(b []byte, splits []int) {
	from := 0
	for _, at := range append(slices.Clone(splits), len(b)) {
		time.Sleep(shortPause)
		if _, err := x.conn.Write(b[from:at]); err != nil {
			return // the reader sees why
		}
		from = at
	}
}

// final reads one final response with the informational ones before it. It returns false if there are no more.
func (x *client) final(method string) bool {
	for {
		r, again, err := x.read(method)
		if r != nil {
			x.out.responses = append(x.out.responses, *r)
		}
		if err != nil {
			x.out.fate = fate(err)
			return false
		}
		if !again {
			break
		}
	}
	last := x.out.responses[len(x.out.responses)-1]
	if strings.HasPrefix(last.line, "HTTP/1.1 101") {
		_ = x.conn.CloseWrite()
		b, err := io.ReadAll(x.reader)
		x.out.fate = fmt.Sprintf("switched, then %q, then %s", b, fate(err))
		return false
	}
	if closes(last) {
		x.rest("GET")
		return false
	}
	return true
}

// rest reads what the server still sends until it closes. method is that of the next request.
func (x *client) rest(method string) {
	for {
		r, _, err := x.read(method)
		if r != nil {
			x.out.responses = append(x.out.responses, *r)
		}
		if err != nil {
			x.out.fate = fate(err)
			return
		}
	}
}

// probe finds out whether the connection is kept.
func (x *client) probe() {
	x.write([]byte(canaryRequest), nil)
	r, _, err := x.read("GET")
	switch {
	case err != nil && r == nil:
		x.out.fate = fate(err)
	case r.body == "canary":
		x.out.fate = "kept"
	default:
		x.out.fate = fmt.Sprintf("kept, and a request got %s with %q", r.line, shorten([]byte(r.body)))
	}
}

// askCanary sends the canary on a new connection.
func (n *network) askCanary(addr string) string {
	x, err := n.connect(addr, nil)
	if err != nil {
		return err.Error()
	}
	defer x.conn.Close()
	x.write([]byte(canaryRequest), nil)
	r, _, err := x.read("GET")
	if err != nil || r == nil {
		return fate(err)
	}
	return fmt.Sprintf("%s with %q", r.line, shorten([]byte(r.body)))
}

// fate says in words how reading ended.
func fate(err error) string {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), err == nil:
		return "closed"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "open, and nothing arrives"
	}
	return err.Error()
}

// closes reports whether the connection ends after r.
func closes(r response) bool {
	if strings.HasPrefix(r.line, "HTTP/1.0") {
		return !slices.Contains(r.fields, "Connection: keep-alive")
	}
	return slices.Contains(r.fields, "Connection: close")
}

// read reads one response. again is true if it is informational. At the end of the connection r is nil, or what there was of it.
func (x *client) read(method string) (r *response, again bool, err error) {
	line, err := x.line()
	if err != nil {
		if line == "" {
			return nil, false, err
		}
		return &response{line: line, cut: true}, false, err
	}
	r = &response{line: line, method: method, expected: x.expects, asked: x.asked}
	raw := []string{}
	for {
		if line, err = x.line(); err != nil {
			r.cut, r.fields = true, sorted(raw)
			return r, false, err
		}
		if line == "" {
			break
		}
		if last := len(raw) - 1; last >= 0 && (line[0] == ' ' || line[0] == '\t') {
			raw[last] += "\n" + line // folded, RFC 9112 §5.2
			continue
		}
		raw = append(raw, line)
	}
	r.fields = sorted(raw)
	switch status := r.status(); {
	case status >= 100 && status < 200:
		return r, status != http.StatusSwitchingProtocols, nil
	case method == "HEAD", status == http.StatusNoContent, status == http.StatusNotModified:
		return r, false, nil
	}
	return r, false, x.body(r, raw)
}

func sorted(lines []string) []string {
	s := slices.Clone(lines)
	slices.Sort(s)
	return s
}

// line returns a line without CR LF.
func (x *client) line() (string, error) {
	b, err := x.reader.ReadString('\n')
	return strings.TrimSuffix(strings.TrimSuffix(b, "\n"), "\r"), err
}

// body reads the body and the trailer of r.
func (x *client) body(r *response, raw []string) error {
	length, chunked := int64(-1), false
	for _, field := range raw {
		name, value, _ := strings.Cut(field, ":")
		switch textproto.CanonicalMIMEHeaderKey(name) {
		case "Content-Length":
			length, _ = strconv.ParseInt(strings.TrimSpace(value), 10, 63)
		case "Transfer-Encoding":
			chunked = strings.EqualFold(strings.TrimSpace(value), "chunked")
		}
	}
	var err error
	switch {
	case chunked:
		return x.chunks(r)
	case length >= 0:
		b, e := io.ReadAll(io.LimitReader(x.reader, length))
		if r.body, err = string(b), e; e == nil && int64(len(b)) < length {
			err = io.ErrUnexpectedEOF
		}
	default:
		b, e := io.ReadAll(x.reader)
		r.body = string(b)
		if err = e; e == nil {
			return io.EOF
		}
	}
	r.cut = err != nil
	return err
}

// chunks reads a chunked body, and accepts only what is exactly right.
func (x *client) chunks(r *response) error {
	for {
		line, err := x.line()
		if err != nil {
			r.cut = true
			return err
		}
		if x.direct {
			line, _, _ = strings.Cut(line, ";")
			line = strings.TrimRight(line, " \t")
		}
		size, err := strconv.ParseUint(line, 16, 31)
		if err != nil {
			r.cut = true
			return fmt.Errorf("malformed chunk size %q", line)
		}
		if size == 0 {
			break
		}
		b := make([]byte, size+2)
		n, err := io.ReadFull(x.reader, b)
		r.body += string(b[:min(n, int(size))])
		if err != nil {
			r.cut = true
			return err
		}
		if string(b[size:]) != "\r\n" {
			r.cut = true
			return fmt.Errorf("malformed chunk end %q", b[size:])
		}
	}
	for {
		line, err := x.line()
		if err != nil {
			r.cut = true
			return err
		}
		if line == "" {
			slices.Sort(r.trailer)
			return nil
		}
		r.trailer = append(r.trailer, line)
	}
}
