// Command upstream is the app behind the proxies of the bench. It must cost less than every proxy, so it is written on net: GET /N has
// a body of N bytes (/ has 1024), a POST reads its body, and a request for a WebSocket is accepted and then only read. It is a
// server for `make bench` and for nothing else.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"strconv"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to serve at")
	flag.Parse()
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal("upstream: ", err)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			log.Fatal("upstream: ", err)
		}
		go serve(conn)
	}
}

// usual is the size of a response to a path that is no number.
const usual = 1024

// largest bounds the size of a response, and of a request's head line.
const largest = 16 << 20

var content = bytes.Repeat([]byte("0123456789abcde\n"), largest/16)

// head is what a request says about itself.
type head struct {
	method, path string
	length       int
	chunked, ws  bool
	close        bool
}

func serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReaderSize(conn, 16<<10)
	var out []byte
	for {
		h, err := readHead(r)
		if err != nil {
			return
		}
		if h.ws {
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+
				"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
			_, _ = io.Copy(io.Discard, r)
			return
		}
		if err := discard(r, h); err != nil {
			return
		}
		size, err := strconv.Atoi(h.path[1:])
		if err != nil || size > largest {
			size = usual
		}
		out = append(out[:0], "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: "...)
		out = append(strconv.AppendInt(out, int64(size), 10), "\r\n\r\n"...)
		if h.method == "HEAD" {
			size = 0
		}
		if size <= usual {
			out, size = append(out, content[:size]...), 0
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
		if _, err := conn.Write(content[:size]); size > 0 && err != nil || h.close {
			return
		}
	}
}

// readHead reads the request line and the fields that matter. What proxies of the bench send is well-formed.
func readHead(r *bufio.Reader) (head, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return head{}, err
	}
	parts := bytes.SplitN(line, []byte(" "), 3)
	if len(parts) != 3 || len(parts[1]) == 0 {
		return head{}, errors.New("not a request line")
	}
	h := head{method: string(parts[0]), path: string(parts[1])}
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return h, err
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found {
			return h, nil
		}
		if err := h.field(name, bytes.TrimSpace(value)); err != nil {
			return h, err
		}
	}
}

func (h *head) field(name, value []byte) (err error) {
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		if h.length, err = strconv.Atoi(string(value)); err != nil {
			return fmt.Errorf("reading Content-Length: %w", err)
		}
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		h.chunked = true
	case bytes.EqualFold(name, []byte("Upgrade")):
		h.ws = bytes.EqualFold(value, []byte("websocket"))
	case bytes.EqualFold(name, []byte("Connection")):
		h.close = bytes.EqualFold(value, []byte("close"))
	}
	return nil
}

// discard reads the body.
func discard(r *bufio.Reader, h head) error {
	if !h.chunked {
		_, err := r.Discard(h.length)
		return err
	}
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return fmt.Errorf("reading a chunk's size: %w", err)
		}
		if _, err := r.Discard(int(size) + 2); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
	}
}
