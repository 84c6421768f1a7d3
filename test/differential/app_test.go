package differential

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A reply is what the app does with one request.
type reply struct {
	// raw is sent as it is. If it is empty, the app responds with a plain 200.
	raw string
	// early sends raw before the body is read, and unread does not read the body at all.
	early, unread bool
	// interim is sent before the body is read, such as a 100 Continue.
	interim string
	// then is what happens to the connection after the response.
	then ending
}

// ending is how a connection goes on.
type ending int

const (
	kept ending = iota
	closed
	reset
	// broken is the end of a connection whose request did not arrive.
	broken
)

const plainReply = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"

// The clock moves only when everything waits. So after a short pause everything that follows from what was sent has happened; after early also what
// the client does then, and after late what it does with an early response.
const (
	shortPause = time.Microsecond
	earlyPause = time.Millisecond
	latePause  = 2 * time.Millisecond
)

// A request is one that the app has seen.
type request struct {
	// sent is how it was written; empty if the app does not see that.
	sent string
	// The other fields are what net/http reads in it.
	line, host, body string
	header, trailer  http.Header
	// length is the body's, -1 in chunks.
	length int64
}

// A script says what an app does, and records what it sees.
type script struct {
	mu      sync.Mutex
	replies []reply
	seen    []request
	// busy counts the requests in progress.
	busy int
	// narrow says that the app takes no more than it reads, so that a body that it does not read remains with its sender.
	narrow bool
}

// begin sets the replies to the next requests, and forgets what was seen.
func (s *script) begin(replies []reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = nil
	s.follow(replies)
}

// follow sets the replies to the next requests. The caller holds mu, or no request is in progress.
func (s *script) follow(replies []reply) {
	s.replies = replies
	s.narrow = slices.ContainsFunc(replies, func(r reply) bool { return r.early || r.unread })
}

// window returns how many bytes may be on the way to the app.
func (s *script) window() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.narrow {
		return 1
	}
	return 1 << 30
}

// widen lets the app take any number of bytes from now on.
func (s *script) widen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.narrow = false
}

// add changes the number of requests in progress.
func (s *script) add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy += n
}

// end returns what was seen once no request is in progress. ok is false if one remains.
func (s *script) end() (seen []request, ok bool) {
	for end := time.Now().Add(patience); ; time.Sleep(latePause) {
		s.mu.Lock()
		seen, ok = s.seen, s.busy == 0
		s.mu.Unlock()
		if ok || time.Now().After(end) {
			return seen, ok
		}
	}
}

// next returns the reply to the next request. Requests beyond the script get a plain one.
func (s *script) next() reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := reply{}
	if len(s.replies) > 0 {
		r, s.replies = s.replies[0], s.replies[1:]
	}
	return r
}

func (s *script) record(r request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, r)
}

// An app speaks HTTP/1.1 on raw connections. It records the requests that arrive complete, and responds as a case says.
type app struct {
	script
	addr string
}

func newApp(tb testing.TB, n *network) *app {
	tb.Helper()
	l := n.listen()
	a := &app{addr: l.addr.String()}
	l.window = a.window
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				a.serve(c.(*conn))
				_ = c.Close()
			})
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		wait.Wait() // the proxies have closed their connections
	})
	return a
}

// serve serves the requests of a connection.
func (a *app) serve(c *conn) {
	reader := bufio.NewReader(c)
	for {
		if _, err := reader.Peek(1); err != nil {
			return
		}
		a.add(1)
		next, how := a.one(c, reader)
		a.add(-1)
		if how != kept {
			end(c, how)
			return
		}
		reader = next
	}
}

// one serves a request. It returns how the connection goes on, and the reader of the next request.
func (a *app) one(c *conn, reader *bufio.Reader) (next *bufio.Reader, how ending) {
	head, err := readHead(reader)
	if err != nil {
		return nil, broken
	}
	reader = bufio.NewReader(io.MultiReader(bytes.NewReader(head), reader))
	r, err := http.ReadRequest(reader)
	if err != nil {
		a.record(request{sent: "malformed " + string(head)})
		return nil, broken
	}
	if r.URL.Path == canary {
		_, _ = io.WriteString(c, canaryReply) // on an error there is no next request
		return reader, kept
	}
	answer := a.next()
	if answer.raw == "" {
		answer.raw = plainReply
	}
	if answer.early || answer.unread {
		time.Sleep(earlyPause)
	}
	if !answer.early && !answer.unread {
		if _, err := io.WriteString(c, answer.interim); err != nil {
			return nil, broken
		}
	} else if how := respond(c, answer.interim+answer.raw, answer.then); how != kept {
		a.recordRead(head, r, unread(r))
		return nil, how
	} else if r.ContentLength != 0 {
		time.Sleep(latePause)
		a.widen()
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, broken // the request is not complete
	}
	a.recordRead(head, r, fmt.Sprintf("%q", shorten(body)))
	if answer.early {
		return reader, kept
	}
	time.Sleep(shortPause)
	return reader, respond(c, answer.raw, answer.then)
}

// unread describes the body of a request that the app has not read.
func unread(r *http.Request) string {
	if r.ContentLength == 0 {
		return `""`
	}
	return "not read"
}

// recordRead records r. head is how it was written, or nil.
func (s *script) recordRead(head []byte, r *http.Request, body string) {
	seen := request{line: r.Method + " " + r.RequestURI + " " + r.Proto, host: r.Host, body: body, header: r.Header.Clone(), trailer: r.Trailer.Clone(), length: r.ContentLength}
	if head != nil {
		seen.sent = describe(head, body, r.Trailer)
	}
	s.record(seen)
}

// respond sends the response, and ends the stream together with its last byte if no other follows.
func respond(c *conn, text string, then ending) ending {
	if _, err := c.send([]byte(text), then == closed); err != nil {
		return broken
	}
	return then
}

// end ends a connection as the case says. What the peer still sends does not reset it.
func end(c *conn, how ending) {
	switch how {
	case closed:
		_ = c.CloseWrite() // if respond has not done it
		time.Sleep(latePause)
		_, _ = io.Copy(io.Discard, c)
	case reset:
		_ = c.SetLinger(0)
	}
	_ = c.Close()
}

var errLongHead = errors.New("reading a head: it is too long")

// readHead returns the bytes of a head with its empty line.
func readHead(reader *bufio.Reader) ([]byte, error) {
	var head []byte
	for len(head) < 1<<20 {
		line, err := reader.ReadBytes('\n')
		if head = append(head, line...); err != nil {
			return head, err
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return head, nil
		}
	}
	return head, errLongHead
}

// describe returns a request as text: the request line, the sorted fields, the body and the trailer.
func describe(head []byte, body string, trailer http.Header) string {
	lines := strings.Split(strings.TrimRight(string(head), "\r\n"), "\r\n")
	slices.Sort(lines[1:])
	return strings.Join(lines, "\n") + "\nbody " + body + describeTrailer(trailer)
}

func describeTrailer(trailer http.Header) string {
	var fields []string
	for name, values := range trailer {
		fields = append(fields, fmt.Sprintf("%s: %q", name, values))
	}
	if slices.Sort(fields); len(fields) == 0 {
		return ""
	}
	return "\ntrailer " + strings.Join(fields, ", ")
}

// equal compares how the requests were written, or what was read if that is not known.
func (r request) equal(s request) bool { return r.String() == s.String() }

// String returns how the request was written, or how net/http reads it if that is not known.
func (r request) String() string {
	if r.sent != "" {
		return r.sent
	}
	lines := []string{}
	for name, values := range r.header {
		for _, value := range values {
			lines = append(lines, name+": "+value)
		}
	}
	slices.Sort(lines)
	lines = append([]string{r.line, "host " + r.host}, lines...)
	return strings.Join(lines, "\n") + "\nbody " + r.body + describeTrailer(r.trailer)
}
