package differential

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A reply is what the app does with one request.
type reply struct {
	// raw is sent as it is. If it is nil, the app responds with a plain 200.
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

// An app speaks HTTP/1.1 on raw connections. It records the requests that arrive complete, and responds as a case says.
type app struct {
	addr     string
	listener net.Listener

	mu      sync.Mutex
	changed *sync.Cond
	replies []reply
	seen    []string
	// busy counts the requests in progress.
	busy int
	// ending counts the connections that the app has closed, and that the peer has not, since the last script; turn counts the scripts.
	ending, turn int
	conns        map[net.Conn]bool
}

func newApp(tb testing.TB) *app {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	a := &app{addr: l.Addr().String(), listener: l, conns: map[net.Conn]bool{}}
	a.changed = sync.NewCond(&a.mu)
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			a.track(conn, true)
			wait.Go(func() {
				a.serve(conn)
				_ = conn.Close()
				a.track(conn, false)
			})
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		a.closeAll()
		wait.Wait()
	})
	return a
}

func (a *app) track(conn net.Conn, open bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if open {
		a.conns[conn] = true
	} else {
		delete(a.conns, conn)
	}
}

func (a *app) closeAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for conn := range a.conns {
		_ = conn.Close()
	}
}

// script sets the replies to the next requests, and forgets what was seen.
func (a *app) script(replies []reply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.replies, a.seen, a.ending = replies, nil, 0
	a.turn++
}

// add changes the number of requests in progress.
func (a *app) add(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy += n
	a.changed.Broadcast()
}

// settle waits until no request is in progress, and returns what was seen. ok is false if one still is.
func (a *app) settle(withEnding bool) (seen []string, ok bool) {
	timer := time.AfterFunc(patience, a.changed.Broadcast)
	defer timer.Stop()
	end := time.Now().Add(patience)
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.busy > 0 || withEnding && a.ending > 0 {
		if !time.Now().Before(end) {
			return a.seen, false
		}
		a.changed.Wait()
	}
	return a.seen, true
}

// next returns the reply to the next request. Requests beyond the script get a plain one.
func (a *app) next() reply {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.replies) == 0 {
		return reply{}
	}
	r := a.replies[0]
	a.replies = a.replies[1:]
	return r
}

func (a *app) record(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, text)
}

// serve serves the requests of a connection.
func (a *app) serve(conn net.Conn) {
	reader := bufio.NewReader(conn)
	for {
		if _, err := reader.Peek(1); err != nil {
			return
		}
		a.add(1)
		next, how := a.one(conn, reader)
		if how == kept {
			a.add(-1)
			reader = next
			continue
		}
		a.end(conn, how)
		return
	}
}

// one serves a request. It returns how the connection goes on, and the reader of the next request.
func (a *app) one(conn net.Conn, reader *bufio.Reader) (next *bufio.Reader, how ending) {
	head, err := readHead(reader)
	if err != nil {
		return nil, broken
	}
	reader = bufio.NewReader(io.MultiReader(bytes.NewReader(head), reader))
	r, err := http.ReadRequest(reader)
	if err != nil {
		a.record("malformed " + string(head))
		return nil, broken
	}
	if r.URL.Path == canary {
		_, _ = io.WriteString(conn, canaryReply) // on an error there is no next request
		return reader, kept
	}
	answer := a.next()
	if answer.raw == "" {
		answer.raw = plainReply
	}
	first, last := answer.interim, answer.raw
	if answer.early || answer.unread {
		first, last = first+last, ""
	}
	if _, err := io.WriteString(conn, first); err != nil {
		return nil, broken
	}
	if answer.unread && r.ContentLength != 0 {
		a.record(describe(head, "not read", nil))
		return nil, max(answer.then, closed)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, broken // the request is not complete
	}
	a.record(describe(head, fmt.Sprintf("%q", shorten(body)), r.Trailer))
	if _, err := io.WriteString(conn, last); err != nil {
		return nil, broken
	}
	return reader, answer.then
}

// end ends the connection after a request as the case says.
func (a *app) end(conn net.Conn, how ending) {
	if how != closed || conn.(*net.TCPConn).CloseWrite() != nil {
		if how == reset {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}
		_ = conn.Close()
		a.add(-1)
		return
	}
	a.mu.Lock()
	turn := a.turn
	a.busy--
	a.ending++
	a.changed.Broadcast()
	a.mu.Unlock()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	_, _ = io.Copy(io.Discard, conn)
	_ = conn.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.turn == turn {
		a.ending--
		a.changed.Broadcast()
	}
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
	text := strings.Join(lines, "\n") + "\nbody " + body
	var fields []string
	for name, values := range trailer {
		fields = append(fields, fmt.Sprintf("%s: %q", name, values))
	}
	slices.Sort(fields)
	if len(fields) > 0 {
		text += "\ntrailer " + strings.Join(fields, ", ")
	}
	return text
}
