package server

import (
	"errors"
	"sync"

	"github.com/posterndev/postern/sidecar/conn/nonblock"
)

// slot is the memory of the request in progress. After its handler has returned nobody may use it, so an idle connection gives it to the next
// request of any connection.
type slot struct {
	marks    marks
	request  requestParts
	response response
}

var slots = sync.Pool{New: func() any { return &slot{} }}

// takeSlot gives the connection the memory for its next request.
func (c *conn) takeSlot() {
	switch {
	case c.server.config.Poison:
		c.slot = &slot{}
	case c.slot == nil:
		c.slot = slots.Get().(*slot)
	}
	c.scan.marks = &c.slot.marks
}

// park waits for the next request of a connection that was idle for Times.Park. It runs in a goroutine of its own: the stack of the one
// before has grown with the handler, and keeps its size as long as it waits.
func (c *conn) park() {
	c.parked, c.grown = false, false
	c.readAlarm.clear(c, c.net.SetReadDeadline)
	c.rest()
	c.readAlarm.set(&c.server.sweeper, c.server.config.Times.Idle)
	if c.arrives() != nil {
		c.close()
		return
	}
	c.serveRequests()
}

// rest gives back what a connection without a request does not need. Its last request has ended in good order.
func (c *conn) rest() {
	c.release()
	c.current.Store(nil)
	if !c.body.none {
		c.body = &body{none: true, eof: true}
	}
	if s := c.slot; s != nil && !c.server.config.Poison {
		c.slot, c.scan.marks = nil, nil
		s.clean()
		slots.Put(s)
	}
}

// large reports whether the last request needed more memory than is usual. A connection between two requests does not keep that, however soon the next one comes.
func (c *conn) large() bool {
	return len(c.buf) > bufferSize || c.slot != nil && cap(c.slot.marks.fields) > 4*usualFields
}

// clean removes what is left of the last request, and what one with many fields needed.
func (s *slot) clean() {
	if cap(s.marks.fields) > 4*usualFields {
		s.marks.fields = nil
	}
	header := s.response.header
	if len(header) > 4*usualFields {
		header = nil
	}
	clear(header)
	s.response = response{header: header}
}

// arrives waits for the first byte of a head, without a buffer.
func (c *conn) arrives() error {
	if err := nonblock.Await(c.net); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	var first [1]byte
	n, err := c.net.Read(first[:])
	if n == 0 && err == nil {
		err = errNothing
	}
	if n > 0 {
		c.room()
		c.w, err = copy(c.buf, first[:n]), nil
	}
	return err
}
