package redis

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// fake is a server that replies as a function says. It stands for proxies and Sentinels, whose replies cannot be induced.
type fake struct {
	addr string
	// accepted counts the connections.
	accepted atomic.Int64
	reply    atomic.Pointer[func(args []string) string]
	mu       sync.Mutex
	conns    []net.Conn
}

// startFake replies to HELLO and AUTH itself. A reply is in the format of RESP, without the last line end.
func startFake(t *testing.T, reply func(args []string) string) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{addr: l.Addr().String()}
	f.reply.Store(&reply)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.accepted.Add(1)
			f.mu.Lock()
			f.conns = append(f.conns, conn)
			f.mu.Unlock()
			wg.Go(func() { f.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		f.mu.Lock()
		for _, conn := range f.conns {
			_ = conn.Close()
		}
		f.mu.Unlock()
		wg.Wait()
	})
	return f
}

func (f *fake) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		args, err := readCommand(r)
		if err != nil {
			return
		}
		reply := ""
		switch strings.ToUpper(args[0]) {
		case "HELLO":
			reply = "-ERR unknown command 'HELLO'"
		case "AUTH", "SELECT", "CLIENT":
			reply = "+OK"
		default:
			reply = (*f.reply.Load())(args)
		}
		if _, err := io.WriteString(conn, reply+"\r\n"); err != nil {
			return
		}
	}
}

func readCommand(r *bufio.Reader) (args []string, err error) {
	n, err := readLength(r, '*')
	for i := 0; i < n && err == nil; i++ {
		var size int
		if size, err = readLength(r, '$'); err != nil {
			break
		}
		b := make([]byte, size+2)
		_, err = io.ReadFull(r, b)
		args = append(args, string(b[:size]))
	}
	if err == nil && len(args) == 0 {
		err = io.ErrUnexpectedEOF
	}
	return args, err
}

func readLength(r *bufio.Reader, kind byte) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil || len(line) < 3 || line[0] != kind {
		return 0, fmt.Errorf("reading %q: %w", line, io.ErrUnexpectedEOF)
	}
	return strconv.Atoi(strings.TrimSpace(line[1:]))
}

// array encodes values as an array of strings.
func array(values ...string) string {
	out := "*" + strconv.Itoa(len(values))
	for _, v := range values {
		out += "\r\n$" + strconv.Itoa(len(v)) + "\r\n" + v
	}
	return out
}
