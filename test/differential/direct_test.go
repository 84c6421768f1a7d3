package differential

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/test/differential/stdproxy/framing"
)

// direct is the app as a client reaches it without a proxy: net/http's server, whose handler does what a case says. What a case says byte by
// byte is written on the hijacked connection, which then goes back to the server.
type direct struct {
	script
	addr     string
	listener *listener
}

func newDirect(tb testing.TB, n *network) *direct {
	tb.Helper()
	l := n.listen()
	d := &direct{addr: l.addr.String(), listener: l}
	server := &http.Server{Handler: d, DisableGeneralOptionsHandler: true}
	go func() { _ = server.Serve(l) }() // Close ends it
	tb.Cleanup(func() { _ = server.Close() })
	return d
}

// ServeHTTP records the request, and responds as the case says.
func (d *direct) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == canary {
		_, _ = io.WriteString(w, "canary") // on an error there is no next request
		return
	}
	d.add(1)
	defer d.add(-1)
	answer := d.next()
	if answer.early || answer.unread {
		time.Sleep(earlyPause)
		d.answerEarly(w, r, answer)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "the body is malformed", http.StatusBadRequest)
		return
	}
	d.recordRead(nil, r, fmt.Sprintf("%q", shorten(body)))
	time.Sleep(shortPause)
	if answer.raw == "" {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "hello")
		return
	}
	c, rest := hijack(w)
	d.goOn(c, rest, respond(c, answer.raw, ends(r, answer)))
}

// answerEarly responds before it reads the body, if it does.
func (d *direct) answerEarly(w http.ResponseWriter, r *http.Request, answer reply) {
	if answer.raw == "" {
		answer.raw = plainReply
	}
	c, rest := hijack(w)
	if how := respond(c, answer.raw, answer.then); how != kept || answer.unread && r.ContentLength != 0 {
		d.recordRead(nil, r, unread(r))
		end(c, max(how, closed))
		return
	}
	if r.ContentLength != 0 {
		time.Sleep(latePause)
	}
	framing := fmt.Sprintf("Content-Length: %d", r.ContentLength)
	if r.ContentLength < 0 {
		framing = "Transfer-Encoding: chunked"
	}
	reader := bufio.NewReader(io.MultiReader(bytes.NewReader([]byte("POST / HTTP/1.1\r\nHost: a\r\n"+framing+"\r\n\r\n")), rest))
	same, err := http.ReadRequest(reader)
	if err != nil {
		end(c, broken)
		return
	}
	body, err := io.ReadAll(same.Body)
	if err != nil {
		end(c, broken)
		return
	}
	d.recordRead(nil, r, fmt.Sprintf("%q", shorten(body)))
	d.goOn(c, reader, ends(r, answer))
}

// hijack returns the connection, and a reader of what comes on it.
func hijack(w http.ResponseWriter) (*conn, io.Reader) {
	taken, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	if again, ok := taken.(*resumed); ok {
		taken = again.conn
	}
	_ = taken.SetDeadline(time.Time{}) // net/http interrupts its reading with one
	return taken.(*conn), buffered.Reader
}

var closing = regexp.MustCompile(`(?i)\nconnection:[ \t]*close`)

// ends returns how the connection goes on after a response: a server closes it if one of the two says so.
func ends(r *http.Request, answer reply) ending {
	if r.Close || closing.MatchString(answer.raw) {
		return max(answer.then, closed)
	}
	return answer.then
}

// goOn gives the connection back to the server, unless it ends.
func (d *direct) goOn(c *conn, rest io.Reader, how ending) {
	if how != kept {
		end(c, how)
		return
	}
	d.listener.pass(&resumed{c, rest})
}

// resumed is a connection of which a part has been read.
type resumed struct {
	*conn
	rest io.Reader
}

func (r *resumed) Read(p []byte) (int, error) { return r.rest.Read(p) }

// tryDirect sends the requests of a case to the app, one after the other. The client connects again after the app has ended a connection that
// the client has not asked to end. The app responds to each request as it does to the same one in through, which was seen behind the sidecar.
func (w *world) tryDirect(c *testCase, through *outcome) *outcome {
	out, plan := &outcome{}, framing.Read([]byte(c.bytes))
	w.direct.begin(nil)
	w.converseDirect(c, plan, out, through)
	seen, ok := w.direct.script.end()
	out.seen, out.stuck = slices.Clone(seen), !ok
	out.canary = w.askCanary(w.direct.addr)
	out.normalise()
	return out
}

func (w *world) converseDirect(c *testCase, plan framing.Plan, out, through *outcome) {
	var x *client
	defer func() {
		if x != nil {
			_ = x.conn.Close()
		}
	}()
	replies, sent := c.replies, 0
	answers := finals(through)
	for i, message := range plan.Messages {
		sent += len(message)
		if x = w.fresh(x, out); x == nil {
			return
		}
		w.direct.follow(replies)
		if len(replies) > 0 && (i >= len(answers) || !isRefusal(through.responses[answers[i][1]])) {
			replies = replies[1:]
		}
		x.asked = asksToClose(message)
		x.expects = strings.Contains(strings.ToLower(string(message)), "100-continue")
		x.write(message, nil)
		method, _, _ := strings.Cut(string(message), " ")
		before := len(out.responses)
		more := x.final(method)
		out.dropExtra(before)
		if asksToClose(message) || i == len(answers)-1 && through.endsWithLast() {
			if more {
				x.end(framing.Plan{Refused: asksToClose(message)})
				out.dropExtra(before)
			}
			return
		} else if !more || x.extra() {
			_ = x.conn.Close()
			x = nil
		}
	}
	if x = w.fresh(x, out); x == nil {
		return
	}
	w.direct.follow(replies)
	if sent < len(c.bytes) {
		x.write([]byte(c.bytes)[sent:], nil)
	}
	x.end(plan)
}

// endsWithLast reports whether the connection ended with its last response.
func (o *outcome) endsWithLast() bool {
	last := o.responses[len(o.responses)-1]
	return o.fate != "kept" && (last.cut || closes(last) || last.status() == http.StatusSwitchingProtocols)
}

// dropExtra drops what the app has sent after the response to a request; before is how many responses there were.
func (o *outcome) dropExtra(before int) {
	for i := before; i < len(o.responses); i++ {
		if status := o.responses[i].status(); status < 100 || status >= 200 || status == http.StatusSwitchingProtocols {
			o.responses = o.responses[:i+1]
		}
	}
}

// fresh returns x, or a new connection if it is nil.
func (w *world) fresh(x *client, out *outcome) *client {
	if x == nil {
		x, _ = w.connect(w.direct.addr, out)
		out.fate, x.direct = "", true
	}
	return x
}

// extra reports whether the app has ended the connection, or sent something that nobody asked for.
func (x *client) extra() bool {
	time.Sleep(shortPause)
	s := x.conn.in
	s.mu.Lock()
	defer s.mu.Unlock()
	return x.reader.Buffered() > 0 || len(s.data) > 0 || s.ended
}

// asksToClose reports whether the connection ends with the response to the request.
func asksToClose(message []byte) bool {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(message)))
	return err == nil && r.Close
}
