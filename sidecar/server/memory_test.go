package server

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/chain/chaintest"
)

// peers are sockets without anything of package net: what is measured is the sidecar's memory alone.
type peers struct{ fds []int }

func (p *peers) close() {
	for _, fd := range p.fds {
		_ = syscall.Close(fd)
	}
}

func socket(t testing.TB) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func rawRead(fd int, buf []byte, end string) error {
	for n := 0; ; {
		got, err := syscall.Read(fd, buf[n:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil || got == 0 {
			return fmt.Errorf("read %d, %v: %q", got, err, buf[:n])
		}
		if n += got; strings.HasSuffix(string(buf[:n]), end) {
			return nil
		}
	}
}

func startRawApp(t testing.TB, response string) (port int) {
	l := socket(t)
	if err := syscall.Bind(l, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(l, 1000); err != nil {
		t.Fatal(err)
	}
	sa, _ := syscall.Getsockname(l)
	go func() {
		for {
			fd, _, err := syscall.Accept4(l, syscall.SOCK_CLOEXEC)
			if err != nil {
				return
			}
			one := func() {
				buf := make([]byte, 8192)
				for rawRead(fd, buf, "\r\n\r\n") == nil {
					if _, err := syscall.Write(fd, []byte(response)); err != nil {
						return
					}
					if strings.Contains(response, " 101 ") {
						return
					}
				}
			}
			if strings.Contains(response, " 101 ") {
				one()
			} else {
				go one()
			}
		}
	}()
	t.Cleanup(func() { syscall.Close(l) })
	return sa.(*syscall.SockaddrInet4).Port
}

func TestMemoryPer(t *testing.T) {
	for _, kind := range []string{"connection", "websocket"} {
		t.Run(kind, func(t *testing.T) {
			defer func(before bool) { poisonRequests = before }(poisonRequests)
			poisonRequests = false
			policy, authorization := chaintest.Policy(t, chaintest.EverythingInMemory)
			response := appResponse + strings.Repeat("x", 1024)
			request := "GET /orders/7?page=2 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: client/1.0\r\n" +
				"Accept: application/json\r\nAccept-Encoding: gzip\r\nAuthorization: " + authorization + "\r\n"
			end := "x"
			if kind == "websocket" {
				response = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
				request += "Origin: https://shop.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
				end = "\r\n\r\n"
			}
			request += "\r\n"
			port := startRawApp(t, response)
			c := standaloneConfig(t, policy, fmt.Sprintf("http://127.0.0.1:%d", port))
			start(t, c.Inbound.(plain).address, c)
			at := netip.MustParseAddrPort(c.Inbound.(plain).address)
			p := &peers{}
			defer p.close()
			open := func(n int) {
				buf := make([]byte, 8192)
				for range n {
					fd := socket(t)
					if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 1, byte(1 + len(p.fds)%100)}}); err != nil {
						t.Fatal(err)
					}
					p.fds = append(p.fds, fd)
					if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
						t.Fatal(err)
					}
					if _, err := syscall.Write(fd, []byte(request)); err != nil {
						t.Fatal(err)
					}
					if err := rawRead(fd, buf, end); err != nil {
						t.Fatal(err)
					}
				}
			}
			open(10)
			const n = 500
			var before, middle, after runtime.MemStats
			measure := func(s *runtime.MemStats) { runtime.GC(); runtime.GC(); runtime.GC(); runtime.ReadMemStats(s) }
			measure(&before)
			open(n)
			time.Sleep(500 * time.Millisecond)
			var q0, q1 runtime.MemStats
			runtime.ReadMemStats(&q0)
			time.Sleep(time.Second)
			runtime.ReadMemStats(&q1)
			t.Logf("idle: %d B, %d objects in a second", q1.TotalAlloc-q0.TotalAlloc, q1.Mallocs-q0.Mallocs)
			runtime.ReadMemStats(&middle)
			measure(&after)
			per := func(a, b uint64) float64 { return float64(int64(b)-int64(a)) / n / 1024 }
			t.Logf("before GC: alloc'd %.2f KiB, %.1f objects, heapinuse %.2f stack %.2f", per(before.TotalAlloc, middle.TotalAlloc), float64(middle.Mallocs-before.Mallocs)/n, per(before.HeapInuse, middle.HeapInuse), per(before.StackInuse, middle.StackInuse))
			t.Logf("after GC: heap %.2f inuse %.2f stack %.2f objects %.1f gs %d sys %.2f", per(before.HeapAlloc, after.HeapAlloc), per(before.HeapInuse, after.HeapInuse), per(before.StackInuse, after.StackInuse), float64(after.HeapObjects-before.HeapObjects)/n, runtime.NumGoroutine(), per(before.Sys, after.Sys))
			if os.Getenv("CRASH") != "" {
				syscall.Kill(os.Getpid(), syscall.SIGQUIT)
				time.Sleep(time.Minute)
			}
			if out := os.Getenv("MEMOUT"); out != "" {
				f, _ := os.Create(out + "." + kind)
				_ = pprof.Lookup("heap").WriteTo(f, 0)
				f.Close()
				f, _ = os.Create(out + "." + kind + ".g")
				_ = pprof.Lookup("goroutine").WriteTo(f, 1)
				f.Close()
			}
		})
	}
}
