package upstream

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// maxResponseHeader bounds the header of a response, and of each informational response before it, in bytes.
	maxResponseHeader = 128 << 10
	// maxIdleConns is how many unused HTTP/1.1 connections are kept for each app port.
	maxIdleConns = 256
	// copyBuffer is the buffer size for copying bodies, in bytes.
	copyBuffer = 16 << 10
)

// transports talk to the app.
type transports struct{ http1 *http.Transport }

func newTransports(cfg Config) *transports {
	dial := cfg.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: cfg.Timeouts.Dial, KeepAlive: 15 * time.Second}).DialContext
	}
	build := func() *http.Transport {
		return &http.Transport{
			DialContext:            dial,
			Protocols:              new(http.Protocols),
			DisableCompression:     true, // otherwise net/http adds an Accept-Encoding and decompresses the response
			MaxIdleConnsPerHost:    maxIdleConns,
			IdleConnTimeout:        cfg.Timeouts.Idle,
			ResponseHeaderTimeout:  cfg.Timeouts.ResponseHeader,
			ExpectContinueTimeout:  cfg.Timeouts.ExpectContinue,
			MaxResponseHeaderBytes: maxResponseHeader,
		}
	}
	t := &transports{http1: build()}
	t.http1.Protocols.SetHTTP1(true)
	t.http1.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err // as it is: classify looks at it
		}
		return &appConn{Conn: conn}, nil
	}
	return t
}

// RoundTrip sends requests as HTTP/1.1.
func (t *transports) RoundTrip(r *http.Request) (*http.Response, error) {
	if mayIgnoreBody(r) {
		r.Close = true // r is the proxy's own copy
	} else if r.ContentLength != 0 {
		r = watchSending(r)
	}
	return t.http1.RoundTrip(r)
}

func (t *transports) closeIdle() {
	t.http1.CloseIdleConnections()
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
