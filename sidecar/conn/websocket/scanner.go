package websocket

import "encoding/binary"

const (
	opcodeBits  = 0x0f
	opcodeClose = 0x8
	maskBit     = 0x80
	lengthBits  = 0x7f
	// maxHead is the largest head of a frame, in bytes: two, eight of length, four of mask (RFC 6455 §5.2).
	maxHead = 14
)

// headEnd ends the head of a response (RFC 9112 §2.1).
const headEnd = "\r\n\r\n"

// scanner finds the ends of frames in one direction of a connection. It looks at lengths only, so it accepts whatever
// the two ends accept.
type scanner struct {
	// heading says that the head of a response comes before the first frame, and matched is how much of its end was seen.
	heading bool
	matched int
	head    [maxHead]byte
	// have is the number of bytes of the head that were seen. left is how much of the payload is not.
	have int
	left uint64
	// closed says that a complete close frame was seen, the last frame of a direction (RFC 6455 §5.5.1).
	closed bool
}

// between reports whether the next byte begins a frame.
func (s *scanner) between() bool { return s.have == 0 && !s.heading }

// all scans p.
func (s *scanner) all(p []byte) {
	for len(p) > 0 {
		p = p[s.frame(p):]
	}
}

// frame scans p up to the end of the current frame, or of the head, and returns how many bytes it scanned. It is not 0 unless p is
// empty.
func (s *scanner) frame(p []byte) int {
	if s.heading {
		return s.response(p)
	}
	n := 0
	for n < len(p) && s.have < s.size() {
		s.head[s.have] = p[n]
		s.have++
		n++
		if s.have == s.size() {
			s.left = s.payload()
		}
	}
	if s.have < s.size() {
		return n
	}
	more := min(s.left, uint64(len(p)-n))
	s.left -= more
	n += int(more)
	if s.left == 0 {
		s.closed = s.closed || s.head[0]&opcodeBits == opcodeClose
		s.have = 0
	}
	return n
}

// response scans p up to the end of the response's head.
func (s *scanner) response(p []byte) int {
	for i, c := range p {
		switch {
		case c == headEnd[s.matched]:
			s.matched++
		case c == headEnd[0]:
			s.matched = 1
		default:
			s.matched = 0
		}
		if s.matched == len(headEnd) {
			s.heading = false
			return i + 1
		}
	}
	return len(p)
}

// size returns the size of the head as far as it is known.
func (s *scanner) size() int {
	if s.have < 2 {
		return 2
	}
	n := 2
	switch s.head[1] & lengthBits {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if s.head[1]&maskBit != 0 {
		n += 4
	}
	return n
}

// payload returns the length of the payload in bytes. The head must be complete.
func (s *scanner) payload() uint64 {
	switch n := s.head[1] & lengthBits; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(s.head[2:]))
	case 127:
		return binary.BigEndian.Uint64(s.head[2:])
	default:
		return uint64(n)
	}
}
