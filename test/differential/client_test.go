package differential

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/posterndev/postern/test/differential/stdproxy/framing"
)

// patience bounds every wait. A side that is still waiting after it has failed to respond.
const patience = 5 * time.Second

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
	// plain says that request and response are such that a proxy changes nothing but fields of its own.
	plain bool
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
}

// An outcome is what a client and the app saw.
type outcome struct {
	responses []response
	// fate is what became of the client's connection.
	fate string
	seen []string
	// canary is the response to the canary.
	canary string
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
		fmt.Fprintf(&b, "> %s\n", strings.ReplaceAll(s, "\n", "\n>   "))
	}
	fmt.Fprintf(&b, "canary %s\n", o.canary)
	if o.stuck {
		b.WriteString("a request is still open at the app\n")
	}
	return b.String()
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
	conn   *net.TCPConn
	reader *bufio.Reader
	out    *outcome
}

// run sends a case to addr, and returns what the client saw.
func run(addr string, c *testCase) *outcome {
	out := &outcome{}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		out.fate = "refused: " + err.Error()
		return out
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	x := &client{conn: conn.(*net.TCPConn), reader: bufio.NewReader(conn), out: out}
	x.converse(c, framing.Read([]byte(c.bytes)))
	return out
}

// converse sends the requests and reads the responses until the fate of the connection is known.
func (x *client) converse(c *testCase, plan framing.Plan) {
	methods := make([]string, 0, len(plan.Messages))
	for _, m := range plan.Messages {
		method, _, _ := strings.Cut(string(m), " ")
		methods = append(methods, method)
	}
	written := make(chan struct{})
	if c.sequential {
		close(written)
	} else {
		go func() {
			defer close(written)
			x.write([]byte(c.bytes), c.splits)
		}()
		defer func() { _ = x.conn.Close(); <-written }()
	}
	at := 0
	for i, method := range methods {
		if c.sequential {
			x.write(plan.Messages[i], nil)
			at += len(plan.Messages[i])
		}
		if !x.final(method) {
			return
		}
	}
	if c.sequential && at < len(c.bytes) {
		x.write([]byte(c.bytes)[at:], nil)
	}
	switch {
	case plan.Refused:
		x.rest()
	case len(plan.Rest) > 0:
		<-written
		_ = x.conn.CloseWrite()
		x.rest()
	default:
		x.probe()
	}
}

// write sends b, in a write for each part.
func (x *client) write(b []byte, splits []int) {
	from := 0
	for _, at := range append(slices.Clone(splits), len(b)) {
		if _, err := x.conn.Write(b[from:at]); err != nil {
			return // the reader sees why
		}
		if from = at; at < len(b) {
			time.Sleep(200 * time.Microsecond) // so that the parts usually arrive by themselves; the result must be the same anyway
		}
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
		x.rest()
		return false
	}
	return true
}

// rest reads what the server still sends until it closes.
func (x *client) rest() {
	for {
		r, _, err := x.read("GET")
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
func askCanary(addr string) string {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	x := &client{conn: conn.(*net.TCPConn), reader: bufio.NewReader(conn)}
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
	r = &response{line: line}
	raw := []string{}
	for {
		if line, err = x.line(); err != nil {
			r.cut, r.fields = true, sorted(raw)
			return r, false, err
		}
		if line == "" {
			break
		}
		raw = append(raw, line)
	}
	r.fields = sorted(raw)
	status := r.line[min(len(r.line), len("HTTP/1.1 ")):]
	again = strings.HasPrefix(status, "1") && !strings.HasPrefix(status, "101")
	if again || strings.HasPrefix(status, "101") || method == "HEAD" || strings.HasPrefix(status, "204") || strings.HasPrefix(status, "304") {
		return r, again, nil
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
		b := make([]byte, length)
		n, e := io.ReadFull(x.reader, b)
		r.body, err = string(b[:n]), e
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
