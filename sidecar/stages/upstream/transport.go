package upstream

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	http1 "github.com/posterndev/postern/sidecar/conn/http1/client"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

const (
	// maxResponseHeader bounds the header of an HTTP/2 response, and of each informational response before it, in bytes.
	maxResponseHeader = 128 << 10
	// maxIdleConns is how many unused HTTP/1.1 connections are kept for each app port.
	maxIdleConns = 256
	// maxStreamBuffer is how much of one HTTP/2 response may be buffered for a slow client, in bytes. With net/http's
	// default of 4 MiB, a thousand slow clients would need 4 GiB. The app is on the same machine, so little is enough.
	maxStreamBuffer = 32 << 10
	// copyBuffer is the buffer size for copying bodies, in bytes.
	copyBuffer = 16 << 10
)

// transports talk to the app in the protocol that both the client and the app speak.
type transports struct {
	http1 *http1.Client
	// http2 is replaced when connections are renewed.
	http2     atomic.Pointer[http.Transport]
	newHTTP2  func() *http.Transport
	protocols protocols
}

func newTransports(cfg Config) *transports {
	dial := cfg.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: cfg.Timeouts.Dial, KeepAlive: 15 * time.Second}).DialContext
	}
	t := &transports{
		http1: http1.New(http1.Config{
			Dial:           dial,
			Idle:           cfg.Timeouts.Idle,
			MaxIdle:        maxIdleConns,
			ResponseHeader: cfg.Timeouts.ResponseHeader,
			ExpectContinue: cfg.Timeouts.ExpectContinue,
		}),
		protocols: protocols{dial: dial, now: time.Now, known: map[string]*probed{}},
	}
	t.newHTTP2 = func() *http.Transport { return newHTTP2(cfg.Timeouts, dial) }
	t.http2.Store(t.newHTTP2())
	return t
}

// newHTTP2 returns a transport for HTTP/2 in clear text, or over what dial opens.
func newHTTP2(timeouts Timeouts, dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Transport {
	t := &http.Transport{
		Protocols:              new(http.Protocols),
		DisableCompression:     true, // otherwise net/http adds an Accept-Encoding and decompresses the response
		IdleConnTimeout:        timeouts.Idle,
		ResponseHeaderTimeout:  timeouts.ResponseHeader,
		ExpectContinueTimeout:  timeouts.ExpectContinue,
		MaxResponseHeaderBytes: maxResponseHeader,
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerStream: maxStreamBuffer},
	}
	t.Protocols.SetUnencryptedHTTP2(true)
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(context.WithValue(ctx, http2Key{}, true), network, address)
		if err != nil {
			return nil, err
		}
		return &smallFrames{Conn: conn}, nil
	}
	return t
}

type http2Key struct{}

// WantsHTTP2 reports whether a connection that Config.DialContext opens is for HTTP/2, so that TLS can agree on it by ALPN.
func WantsHTTP2(ctx context.Context) bool { return ctx.Value(http2Key{}) != nil }

// RoundTrip sends requests as HTTP/2 with prior knowledge (RFC 9113 §3.3).
func (t *transports) RoundTrip(r *http.Request) (*http.Response, error) {
	timing := request.From(r).Timing
	timing.Asked()
	defer timing.App(time.Now())
	return t.http2.Load().RoundTrip(r)
}

func (t *transports) closeIdle() {
	t.http1.CloseIdle()
	t.http2.Load().CloseIdleConnections()
}

// renew lets the next requests open connections. Those in use end with their requests.
func (t *transports) renew() {
	t.http1.Renew()
	t.http2.Swap(t.newHTTP2()).CloseIdleConnections()
}

// buffers is an httputil.BufferPool.
type buffers struct{ pool sync.Pool }

// Get returns a buffer of copyBuffer bytes.
func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[copyBuffer]byte); ok {
		return buf[:]
	}
	return make([]byte, copyBuffer)
}

// Put returns a buffer of Get to the pool.
func (b *buffers) Put(buf []byte) { b.pool.Put((*[copyBuffer]byte)(buf)) }
