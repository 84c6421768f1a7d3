package nonblock

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

const waitLimit = 20 * time.Second

// pair returns both ends of a connection.
func pair(t *testing.T) (*Conn, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	own, peer := New(dialed.(*net.TCPConn)), accepted.(*net.TCPConn)
	t.Cleanup(func() { _, _ = own.Close(), peer.Close() })
	return own, peer
}

// TestAsTCPConn: results and errors are those of package net.
func TestAsTCPConn(t *testing.T) {
	b := make([]byte, 4)
	tests := map[string]func(t *testing.T, c net.Conn, peer *net.TCPConn) (int, error){
		"empty read":  func(_ *testing.T, c net.Conn, _ *net.TCPConn) (int, error) { return c.Read(nil) },
		"empty write": func(_ *testing.T, c net.Conn, _ *net.TCPConn) (int, error) { return c.Write(nil) },
		"end": func(_ *testing.T, c net.Conn, peer *net.TCPConn) (int, error) {
			_ = peer.CloseWrite()
			return c.Read(b)
		},
		"bytes and then the end": func(_ *testing.T, c net.Conn, peer *net.TCPConn) (int, error) {
			_, _ = peer.Write([]byte("abc"))
			_ = peer.CloseWrite()
			return io.ReadFull(c, b)
		},
		"reset while it reads": func(_ *testing.T, c net.Conn, peer *net.TCPConn) (int, error) {
			_ = peer.SetLinger(0)
			time.AfterFunc(10*time.Millisecond, func() { _ = peer.Close() })
			return c.Read(b)
		},
		"reset and a write": func(t *testing.T, c net.Conn, peer *net.TCPConn) (int, error) {
			_ = peer.SetLinger(0)
			_ = peer.Close()
			for end := time.Now().Add(waitLimit); ; {
				if n, err := c.Write(b); err != nil {
					_, err = c.Write(b) // the first one may have had ECONNRESET, and after it the pipe is broken
					return n, err
				}
				if time.Now().After(end) {
					t.Fatal("writing to a connection that was reset succeeds")
				}
			}
		},
		"closed and a read": func(_ *testing.T, c net.Conn, _ *net.TCPConn) (int, error) {
			_ = c.Close()
			return c.Read(b)
		},
		"closed while it reads": func(_ *testing.T, c net.Conn, _ *net.TCPConn) (int, error) {
			time.AfterFunc(10*time.Millisecond, func() { _ = c.Close() })
			return c.Read(b)
		},
		"closed and a write": func(_ *testing.T, c net.Conn, _ *net.TCPConn) (int, error) {
			_ = c.Close()
			return c.Write(b)
		},
		"deadline of reads": func(_ *testing.T, c net.Conn, _ *net.TCPConn) (int, error) {
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			return c.Read(b)
		},
		"deadline in the past": func(_ *testing.T, c net.Conn, peer *net.TCPConn) (int, error) {
			_, _ = peer.Write([]byte("abc"))
			_ = c.SetReadDeadline(time.Unix(1, 0))
			return c.Read(b)
		},
		"closed and buffers": func(_ *testing.T, c net.Conn, _ *net.TCPConn) (int, error) {
			_ = c.Close()
			n, err := WriteBuffers(c, net.Buffers{b, b})
			return int(n), err
		},
		"no bytes in buffers": func(_ *testing.T, c net.Conn, _ *net.TCPConn) (int, error) {
			n, err := WriteBuffers(c, net.Buffers{nil, {}, nil})
			return int(n), err
		},
		"deadline of writes": func(_ *testing.T, c net.Conn, _ *net.TCPConn) (int, error) {
			many, err := make([]byte, 64<<10), error(nil)
			for err == nil { // until the socket is full
				_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
				_, err = c.Write(many)
			}
			return 0, err
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			own, peer := pair(t)
			n, err := tt(t, own, peer)
			plain, peer := pair(t)
			wantN, want := tt(t, plain.TCPConn, peer)
			if n != wantN || kind(err) != kind(want) {
				t.Errorf("%d, %v; package net has %d, %v", n, err, wantN, want)
			}
		})
	}
}

// kind is what callers can tell of an error.
func kind(err error) (k struct {
	none, end, closed, late, timeout bool
	op                               string
	errno                            syscall.Errno
}) {
	var op *net.OpError
	if errors.As(err, &op) {
		k.op, k.timeout = op.Op, op.Timeout()
	}
	errors.As(err, &k.errno)
	k.none, k.end = err == nil, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	k.closed, k.late = errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded)
	return k
}

// TestTransfers: what is larger than the socket's buffers arrives whole, in both directions at once, with several writers.
func TestTransfers(t *testing.T) {
	own, peer := pair(t)
	const writers, size = 4, 4 << 20
	back := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			if n, err := own.Write(bytes.Repeat([]byte{'a' + byte(i)}, size)); n != size || err != nil {
				t.Errorf("wrote %d, %v", n, err)
			}
		})
	}
	all.Go(func() {
		if n, err := peer.Write(back); n != size || err != nil {
			t.Errorf("the peer wrote %d, %v", n, err)
		}
		_ = peer.CloseWrite()
	})
	all.Go(func() {
		got, err := io.ReadAll(own)
		if err != nil || !bytes.Equal(got, back) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
	})
	got := make([]byte, writers*size)
	if _, err := io.ReadFull(peer, got); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	seen := map[byte]bool{}
	for i := range writers {
		part := got[i*size : (i+1)*size]
		if seen[part[0]] || !bytes.Equal(part, bytes.Repeat(part[:1], size)) {
			t.Error("writes are mixed")
		}
		seen[part[0]] = true
	}
}

// TestWriteBuffers: buffers of all sizes arrive in their order, more of them than one system call takes, and while the socket is full.
func TestWriteBuffers(t *testing.T) {
	own, peer := pair(t)
	var buffers net.Buffers
	var want []byte
	for i, size := range []int{1, 0, 5 << 20, 3, 70_000, 0, 0, 2 << 20, 1} {
		buffers = append(buffers, bytes.Repeat([]byte{'a' + byte(i)}, size))
		want = append(want, buffers[i]...)
	}
	type result struct {
		n   int64
		err error
	}
	written := make(chan result, 1)
	go func() {
		n, err := own.WriteBuffers(buffers)
		written <- result{n, err}
		_ = own.CloseWrite()
	}()
	got, err := io.ReadAll(peer)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the peer got %d bytes of %d, %v", len(got), len(want), err)
	}
	if w := <-written; w.err != nil || w.n != int64(len(want)) {
		t.Errorf("wrote %d, %v", w.n, w.err)
	}
}

// TestReadNow: it takes what is there, and does not wait for more.
func TestReadNow(t *testing.T) {
	own, peer := pair(t)
	b := make([]byte, 8)
	if n, err := own.ReadNow(b); n != 0 || err != nil {
		t.Fatalf("%d, %v without bytes", n, err)
	}
	_, _ = peer.Write([]byte("abc"))
	if err := own.Await(); err != nil {
		t.Fatal(err)
	}
	if n, err := own.ReadNow(b); string(b[:n]) != "abc" || err != nil {
		t.Errorf("%q, %v", b[:n], err)
	}
	_ = peer.Close()
	if err := own.Await(); err != nil {
		t.Fatal(err)
	}
	if n, err := own.ReadNow(b); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d, %v at the end", n, err)
	}
}

// TestPending: looking takes nothing away.
func TestPending(t *testing.T) {
	own, peer := pair(t)
	await := func(want bool) {
		t.Helper()
		for end := time.Now().Add(waitLimit); own.Pending() != want; {
			if time.Now().After(end) {
				t.Fatalf("pending is not %v", want)
			}
		}
	}
	await(false)
	_, _ = peer.Write([]byte("a"))
	await(true)
	b := make([]byte, 2)
	if n, err := own.Read(b); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	await(false)
	_ = peer.Close()
	await(true)
	_ = own.Close()
	await(true)
}

// TestAwait: it returns when there are bytes, at the end and at a deadline, and takes nothing away.
func TestAwait(t *testing.T) {
	tests := map[string]struct {
		do   func(own *Conn, peer *net.TCPConn)
		want error
	}{
		"bytes":    {func(_ *Conn, peer *net.TCPConn) { _, _ = peer.Write([]byte("a")) }, nil},
		"end":      {func(_ *Conn, peer *net.TCPConn) { _ = peer.CloseWrite() }, nil},
		"closed":   {func(own *Conn, _ *net.TCPConn) { _ = own.Close() }, net.ErrClosed},
		"deadline": {func(own *Conn, _ *net.TCPConn) { _ = own.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
	}
	for name, tt := range tests {
		for when, first := range map[string]bool{"before": true, "while it waits": false} {
			t.Run(name+" "+when, func(t *testing.T) {
				own, peer := pair(t)
				if first {
					tt.do(own, peer)
				} else {
					time.AfterFunc(10*time.Millisecond, func() { tt.do(own, peer) })
				}
				if err := Await(own); !errors.Is(err, tt.want) {
					t.Errorf("%v, want %v", err, tt.want)
				}
				if name != "bytes" {
					return
				}
				if n, err := own.Read(make([]byte, 2)); n != 1 || err != nil {
					t.Errorf("then a read returns %d, %v", n, err)
				}
			})
		}
	}
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	if err := Await(client); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a connection that cannot tell: %v", err)
	}
}

// TestAllocations: a transfer allocates nothing.
func TestAllocations(t *testing.T) {
	own, peer := pair(t)
	go func() { _, _ = io.Copy(peer, peer) }()
	b := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := own.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(own, b); err != nil || own.Pending() {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
