package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync/atomic"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Fields are the fields of a request, pseudo-header fields first.
type Fields []hpack.HeaderField

// Encode renders the fields as a header block (RFC 7541) that is the same for every connection: it puts nothing into the dynamic table.
func (f Fields) Encode() ([]byte, error) {
	var out bytes.Buffer
	e := hpack.NewEncoder(&out)
	for _, field := range f {
		// Only fields with a value in the static table can be indexed without an entry in the dynamic one.
		field.Sensitive = field.Name != ":method" && field.Name != ":scheme"
		if err := e.WriteField(field); err != nil {
			return nil, fmt.Errorf("encoding field %s: %w", field.Name, err)
		}
	}
	return out.Bytes(), nil
}

// streams are how many requests are in progress on one HTTP/2 connection.
const streams = 4

// window is how much of the connection's flow-control window is used before it is given back.
const window = 1 << 20

// http2Connection sends requests over one HTTP/2 connection with prior knowledge.
type http2Connection struct {
	net.Conn
	framer *http2.Framer
	out    bytes.Buffer
	// last is the last stream, and used the part of the window that was used.
	last, used uint32
}

func newHTTP2(conn net.Conn) (*http2Connection, error) {
	c := &http2Connection{Conn: conn, last: math.MaxUint32} // the first stream is 1
	c.framer = http2.NewFramer(&c.out, conn)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.SetReuseFrames()
	c.out.WriteString(http2.ClientPreface)
	err := c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: math.MaxInt32}, http2.Setting{ID: http2.SettingEnablePush})
	if err == nil {
		err = c.framer.WriteWindowUpdate(0, math.MaxInt32-65535)
	}
	if err != nil {
		return nil, err
	}
	return c, c.flush()
}

func (c *http2Connection) flush() error {
	if c.out.Len() == 0 {
		return nil
	}
	_, err := c.Write(c.out.Bytes())
	c.out.Reset()
	if err != nil {
		return fmt.Errorf("sending frames: %w", err)
	}
	return nil
}

func (c *http2Connection) send(block []byte) error {
	c.last += 2
	return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: c.last, BlockFragment: block, EndStream: true, EndHeaders: true})
}

// run sends requests from next until it returns nil, streams at a time, and counts the responses.
func (c *http2Connection) run(_ context.Context, next func() []byte, done *atomic.Int64) error {
	open := 0
	for ; open < streams; open++ {
		block := next()
		if block == nil {
			break
		}
		if err := c.send(block); err != nil {
			return err
		}
	}
	for open > 0 {
		if err := c.flush(); err != nil {
			return err
		}
		ended, err := c.read()
		if err != nil {
			return err
		}
		if !ended {
			continue
		}
		done.Add(1)
		block := next()
		if block == nil {
			open--
		} else if err := c.send(block); err != nil {
			return err
		}
	}
	return nil
}

// read reads a frame. ended is true if it ends a response.
func (c *http2Connection) read() (ended bool, err error) {
	frame, err := c.framer.ReadFrame()
	if err != nil {
		return false, fmt.Errorf("reading a frame: %w", err)
	}
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		if status := f.PseudoValue("status"); status != "200" {
			return false, fmt.Errorf("the response has the status %s", status)
		}
		return f.StreamEnded(), nil
	case *http2.DataFrame:
		if c.used += f.Length; c.used > window {
			err, c.used = c.framer.WriteWindowUpdate(0, c.used), 0
		}
		return f.StreamEnded(), err
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return false, c.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return false, c.framer.WritePing(true, f.Data)
		}
	case *http2.RSTStreamFrame:
		return false, fmt.Errorf("a stream was reset: %s", f.ErrCode)
	case *http2.GoAwayFrame:
		return false, errors.New("the connection was closed with GOAWAY")
	}
	return false, nil
}
