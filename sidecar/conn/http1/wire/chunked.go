package wire

import (
	"bytes"
	"errors"
)

const (
	// maxSizeLine bounds a line with a chunk's size and extensions, in bytes.
	maxSizeLine = 4 << 10
	// maxExcess bounds what the lines of a body have besides 16 bytes and twice the data of each chunk: as in net/http.
	maxExcess = 16 << 10
	// maxTrailer bounds the trailer section, in bytes.
	maxTrailer = 64 << 10
)

// errChunk is the error of a malformed chunked body.
var errChunk = errors.New("reading the response: malformed chunk (RFC 9112 §7.1)")

type chunkState byte

const (
	chunkSize   chunkState = iota // the digits
	chunkExt                      // what follows them
	chunkSizeLF                   // the LF of the size's line
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailer
	chunkEnd
)

// Chunks decodes a chunked body that arrives in pieces. The zero value is ready. It refuses what net/http accepts: sizes of 16 digits, bare CR
// and other control characters in an extension.
type Chunks struct {
	state       chunkState
	digits      int
	left        uint64
	line        int
	excess      int64
	spaced, ext bool
	trailer     []byte
}

// Done reports whether the body has ended, with its trailer section.
func (c *Chunks) Done() bool { return c.state == chunkEnd }

// Trailer appends the fields of the trailer section to fields. It may be called when Done.
func (c *Chunks) Trailer(fields []Field) ([]Field, error) {
	return ParseFields(string(c.trailer), fields)
}

// Next decodes the beginning of b. It returns the next part of the data, which is a part of b and may be empty, and how many bytes of b it has
// used. It uses all of b unless it returns data, or the body ends.
func (c *Chunks) Next(b []byte) (data []byte, used int, err error) {
	for used < len(b) && c.state != chunkEnd {
		switch c.state {
		case chunkData:
			n := int(min(c.left, uint64(len(b)-used)))
			data = b[used : used+n]
			if c.left -= uint64(n); c.left == 0 {
				c.state = chunkDataCR
			}
			return data, used + n, nil
		case chunkTrailer:
			if err := c.addTrailer(b[used]); err != nil {
				return nil, used, err
			}
		default:
			if !c.step(b[used]) {
				return nil, used, errChunk
			}
		}
		used++
	}
	return nil, used, nil
}

// step reads one byte outside the data, and returns false if it is not allowed.
func (c *Chunks) step(b byte) bool {
	switch c.state {
	case chunkSize:
		if digit, ok := HexDigit(b); ok {
			c.left, c.digits = c.left<<4|digit, c.digits+1
			return c.digits < 16
		}
		c.state, c.ext, c.spaced = chunkExt, false, false
		return c.digits > 0 && c.inExtension(b)
	case chunkExt:
		return c.inExtension(b)
	case chunkSizeLF:
		return b == '\n' && c.begin()
	case chunkDataCR:
		c.state = chunkDataLF
		return b == '\r'
	case chunkDataLF:
		c.state = chunkSize
		return b == '\n'
	}
	return false
}

// inExtension reads one byte after the digits: spaces at the end of the line, an extension, or the CR.
func (c *Chunks) inExtension(b byte) bool {
	if b == '\r' {
		c.state = chunkSizeLF
		return true
	}
	c.line++
	switch {
	case c.line > maxSizeLine:
		return false
	case c.ext:
		return IsValue(b)
	case b == ';':
		c.ext = true
		return !c.spaced // as in net/http
	}
	c.spaced = IsSpace(b)
	return c.spaced
}

// begin begins the data of a chunk, or the trailer section.
func (c *Chunks) begin() bool {
	c.excess = max(0, c.excess+int64(c.digits+c.line+2)-16-2*int64(min(c.left, maxExcess)))
	c.digits, c.line, c.state = 0, 0, chunkData
	if c.left == 0 {
		c.state = chunkTrailer
	}
	return c.excess <= maxExcess
}

// addTrailer reads one byte of the trailer section, whose lines end with CRLF.
func (c *Chunks) addTrailer(b byte) error {
	n := len(c.trailer)
	if n >= maxTrailer || n == 0 && b == '\n' || b == '\n' && c.trailer[n-1] != '\r' || b != '\n' && n > 0 && c.trailer[n-1] == '\r' {
		return errChunk
	}
	c.trailer = append(c.trailer, b)
	if string(c.trailer) == "\r\n" || bytes.HasSuffix(c.trailer, []byte("\r\n\r\n")) {
		c.state = chunkEnd
	}
	return nil
}
