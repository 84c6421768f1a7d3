package upstream

import (
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// maxResponseHeader bounds a response's header, and each informational one before it, in bytes.
	maxResponseHeader = 128 << 10
	// maxIdleConns is how many unused HTTP/1.1 connections are kept for each app port.
	maxIdleConns = 256
	// maxStreamBuffer is how much of one HTTP/2 response may wait here for a slow client, in bytes; net/http's 4 MiB would
	// let a thousand slow clients take 4 GiB.
	maxStreamBuffer = 256 << 10
	// copyBuffer is the size of the pieces in which bodies are copied, in bytes.
	copyBuffer = 32 << 10
)

// transports speaks to the app in the client's protocol.
type transports struct{ http1, http2 *http.Transport }

func newTransports(cfg Config) *transports {
	dial := cfg.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: cfg.Timeouts.Dial, KeepAlive: 15 * time.Second}).DialContext
	}
	build := func() *http.Transport {
		return &http.Transport{
			DialContext:            dial,
			Protocols:              new(http.Protocols),
			DisableCompression:     true, // else an Accept-Encoding is added and the response unpacked
			MaxIdleConnsPerHost:    maxIdleConns,
			IdleConnTimeout:        cfg.Timeouts.Idle,
			ResponseHeaderTimeout:  cfg.Timeouts.ResponseHeader,
			ExpectContinueTimeout:  cfg.Timeouts.ExpectContinue,
			MaxResponseHeaderBytes: maxResponseHeader,
		}
	}
	t := &transports{http1: build(), http2: build()}
	t.http1.Protocols.SetHTTP1(true)
	t.http2.Protocols.SetUnencryptedHTTP2(true)
	t.http2.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: maxStreamBuffer}
	return t
}

// RoundTrip sends HTTP/2 requests with prior knowledge (RFC 9113 §3.3) and all others as HTTP/1.1.
func (t *transports) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.ProtoMajor == 2 {
		return t.http2.RoundTrip(r)
	}
	return t.http1.RoundTrip(r)
}

func (t *transports) closeIdle() {
	t.http1.CloseIdleConnections()
	t.http2.CloseIdleConnections()
}

// buffers is an httputil.BufferPool.
type buffers struct{ pool sync.Pool }

// Get returns copyBuffer bytes.
func (b *buffers) Get() []byte {
	if buf, ok := b.pool.Get().(*[copyBuffer]byte); ok {
		return buf[:]
	}
	return make([]byte, copyBuffer)
}

// Put takes a buffer of Get's back.
func (b *buffers) Put(buf []byte) { b.pool.Put((*[copyBuffer]byte)(buf)) }
