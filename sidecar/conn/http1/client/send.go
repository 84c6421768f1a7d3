package client

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// bodyBuffer is how much of a request's body is read at once, in bytes. chunkRoom is the room before it for a chunk's size.
const (
	bodyBuffer = 16 << 10
	chunkRoom  = 10
)

var bodyBuffers = sync.Pool{New: func() any { return new([chunkRoom + bodyBuffer + 2]byte) }}

// sender sends the body of a request while the response is awaited.
type sender struct {
	conn *conn
	// request has the body. Its In must not be used here: it may belong to another request already.
	request *Request
	// expects says that the app is asked before the body is sent.
	expects bool
	// wanted is closed when the app says 100, and stopped when the response has ended or there is none.
	wanted, stopped chan struct{}
	asked           sync.Once
	// ended is closed when nothing more is sent.
	ended chan struct{}

	mu sync.Mutex
	// begun says that the body is being sent, ending that its last write has begun, and sent that all of it was written. lost says that the
	// app has closed its end, so that the rest goes nowhere. over says that the call has ended: the connection may belong to another one.
	begun, ending, sent, lost, over bool
	err                             error
}

var (
	errStopped = errors.New("sending the request's body: the response has ended")
	errLonger  = errors.New("sending the request's body: it is longer than its Content-Length")
)

// run sends the body. If that fails, it closes the connection, so that the wait for the response ends.
func (s *sender) run() {
	defer close(s.ended)
	err := s.await()
	if err == nil {
		err = s.copy()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = err; err != nil && !errors.Is(err, errStopped) && !s.over {
		s.conn.abort()
	}
}

// await waits until the app wants the body, if the client asked whether it does (RFC 9110 §10.1.1).
func (s *sender) await() error {
	if s.expects {
		limit := time.NewTimer(s.conn.call.client.cfg.ExpectContinue)
		defer limit.Stop()
		select {
		case <-s.stopped:
		case <-s.wanted:
		case <-limit.C:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isStopped() {
		return errStopped // the final response may have come at the same time
	}
	s.begun = true
	return nil
}

func (s *sender) isStopped() bool {
	select {
	case <-s.stopped:
		return true
	default:
		return false
	}
}

// missing is the error of a body that is shorter than its Content-Length.
func missing(bytes int64) error {
	return fmt.Errorf("sending the request's body: %d bytes are missing", bytes)
}

// isGone reports whether a write has failed because the app has closed its end.
func isGone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// writeLast writes the end of the body.
func (s *sender) writeLast(b []byte) error {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	err := s.write(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent = err == nil && !s.lost; err == nil && !s.over {
		s.conn.call.requestSent()
	}
	return err
}

// copy sends the body and its end.
func (s *sender) copy() error {
	array := bodyBuffers.Get().(*[chunkRoom + bodyBuffer + 2]byte)
	defer bodyBuffers.Put(array)
	left, chunked := s.request.Length, s.request.Length < 0
	for {
		n, err := s.request.Body.Read(array[chunkRoom : chunkRoom+bodyBuffer])
		if s.isStopped() {
			return errStopped
		}
		if !chunked {
			if left -= int64(n); left < 0 {
				return errLonger
			}
		}
		if n > 0 {
			write := s.write
			if left == 0 {
				write = s.writeLast // what follows may only be the end, but the body is read up to there
			}
			if err := write(piece(array, n, chunked)); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the request's body: %w", err)
		}
	}
	if left > 0 {
		return missing(left)
	}
	if !chunked {
		return nil
	}
	end := []byte("0\r\n")
	for _, name := range s.request.trailerNames() {
		for _, value := range s.request.Trailer[name] {
			if end = appendField(end, name, value); end == nil {
				return errSend
			}
		}
	}
	return s.writeLast(append(end, "\r\n"...))
}

// piece returns n bytes of the buffer as they are sent.
func piece(array *[chunkRoom + bodyBuffer + 2]byte, n int, chunked bool) []byte {
	if !chunked {
		return array[chunkRoom : chunkRoom+n]
	}
	var size [chunkRoom]byte
	line := append(strconv.AppendInt(size[:0], int64(n), 16), "\r\n"...)
	start := chunkRoom - len(line)
	copy(array[start:], line)
	copy(array[chunkRoom+n:], "\r\n")
	return array[start : chunkRoom+n+2]
}

// write sends b. An app that responds early may close the connection without reading the body. Then the rest of the body goes nowhere, because
// the response waits to be read; if there is none, reading it fails.
func (s *sender) write(b []byte) error {
	s.mu.Lock()
	lost := s.lost
	s.mu.Unlock()
	if lost {
		return nil
	}
	_, err := s.conn.net.Write(b)
	if isGone(err) {
		s.mu.Lock()
		s.lost = true
		s.mu.Unlock()
		return nil
	}
	if err != nil {
		return fmt.Errorf("sending the request's body: %w", err)
	}
	return nil
}

// early reports whether the response has begun before the end of the body was written. If the app has not asked for the body, it does not
// get it.
func (s *sender) early() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun {
		s.end()
	}
	return !s.ending
}

// end stops sending. The goroutine of the call uses it.
func (s *sender) end() {
	if !s.isStopped() {
		close(s.stopped)
	}
}

// lastWrite bounds the wait for the end of the body's last write, whose result the response may overtake.
const lastWrite = 50 * time.Millisecond

// finish ends the call, and reports whether the whole body was sent.
func (s *sender) finish() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending && !s.sent && s.err == nil {
		s.mu.Unlock()
		limit := time.NewTimer(lastWrite)
		select {
		case <-s.ended:
		case <-limit.C:
		}
		limit.Stop()
		s.mu.Lock()
	}
	s.over = true
	s.end()
	return s.sent && s.err == nil
}

// cause returns why the body could not be sent, or nil.
func (s *sender) cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(s.err, errStopped) {
		return nil
	}
	return s.err
}
