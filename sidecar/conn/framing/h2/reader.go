// Package h2 makes the requests visible that net/http's HTTP/2 server refuses by itself: with a bare response or a reset stream,
// without a trace in the log and the metrics, and without the headers of the policy.
//
// A Reader is between the connection and net/http. It passes every frame unchanged, except those with header fields. It decodes their
// blocks with the connection's dynamic table, and encodes them again without one, so that net/http's decoder has no state. Instead of a
// request that net/http would refuse, it passes a harmless one that says why; Refused finds it. The Reader removes the field that says
// it from everything that a client sends.
//
// The Reader refuses what net/http would refuse, and nothing else. The guard judges the other requests.
package h2

import (
	"encoding/binary"
	"errors"
	"io"

	"golang.org/x/net/http2/hpack"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// Preface begins an HTTP/2 connection, RFC 9113 §3.4.
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

const (
	// MaxFrame is the maximum length of a frame with header fields, in bytes. The server must advertise no more as
	// SETTINGS_MAX_FRAME_SIZE; it is the minimum of RFC 9113 §6.5.2.
	MaxFrame = 16 << 10
	// tableSize is the maximum size of the dynamic table, in bytes: the default of RFC 9113 §6.5.2, which net/http advertises.
	tableSize = 4 << 10
	// maxContinuations bounds the frames of one block. Small frames cost time, and net/http sees none of them before the last.
	maxContinuations = 1 << 10
	// readAhead is the size of a connection's own buffer, in bytes. It saves a system call for each small frame.
	readAhead  = 1 << 10
	headerSize = 9
)

// Frame types and flags, RFC 9113 §6.
const (
	frameHeaders, framePing, frameContinuation           = 1, 6, 9
	flagEndStream, flagEndHeaders, flagPadded, flagDepen = 0x1, 0x4, 0x8, 0x20
)

// Config configures a Reader.
type Config struct {
	// ListBytes is the maximum size of a header list as RFC 9113 §6.5.2 counts it, in bytes. The server's own maximum must not be lower.
	ListBytes int
	// OnRefuse is called for each refusal, on the goroutine of the caller of Read; it may be nil.
	OnRefuse func(*httperr.Error)
}

// Reader is what net/http reads of an HTTP/2 connection. It is for one goroutine.
type Reader struct {
	config  Config
	read    func([]byte) (int, error)
	decoder *hpack.Decoder

	buf   [readAhead]byte
	start int // of what is in buf
	end   int

	header [headerSize]byte
	out    []byte // read next, before everything else
	pass   int    // bytes that are then passed unchanged
	broken bool   // nothing follows
	last   uint32 // the highest stream so far
	block  block
}

// NewReader returns a Reader of a connection that begins with Preface. read reads from the connection.
func NewReader(read func([]byte) (int, error), config Config) *Reader {
	r := &Reader{config: config, read: read, pass: len(Preface)}
	r.decoder = hpack.NewDecoder(tableSize, r.add)
	r.decoder.SetMaxStringLength(config.ListBytes)
	return r
}

// Read reads from the connection what net/http may see. The errors are those of the connection. After bytes that cannot be followed,
// such as a malformed header block, Read returns a frame to which net/http responds with GOAWAY, and then io.EOF.
func (r *Reader) Read(p []byte) (int, error) {
	for len(p) > 0 {
		switch {
		case len(r.out) > 0:
			n := copy(p, r.out)
			if r.out = r.out[n:]; len(r.out) == 0 {
				r.block.release()
			}
			return n, nil
		case r.pass > 0:
			n, err := r.receive(p[:min(len(p), r.pass)])
			r.pass -= n
			return n, err
		case r.broken:
			return 0, io.EOF
		}
		if err := r.frame(); err != nil {
			r.block.release()
			return 0, err
		}
	}
	return 0, nil
}

// receive reads what is in the buffer, or from the connection.
func (r *Reader) receive(p []byte) (int, error) {
	if r.start == r.end {
		return r.read(p)
	}
	n := copy(p, r.buf[r.start:r.end])
	r.start += n
	return n, nil
}

// fill reads until the header of a frame is in the buffer.
func (r *Reader) fill() error {
	if r.start > 0 {
		r.start, r.end = 0, copy(r.buf[:], r.buf[r.start:r.end])
	}
	for r.end < headerSize {
		n, err := r.read(r.buf[r.end:])
		if r.end += n; r.end < headerSize && err != nil {
			return err
		}
	}
	return nil
}

// frame reads the header of the next frame, and the frame if it has header fields.
func (r *Reader) frame() error {
	if r.end-r.start < headerSize {
		if err := r.fill(); err != nil {
			return err
		}
	}
	copy(r.header[:], r.buf[r.start:])
	r.start += headerSize
	length := int(binary.BigEndian.Uint32(r.header[:]) >> 8)
	kind, flags, stream := r.header[3], r.header[4], binary.BigEndian.Uint32(r.header[5:])&(1<<31-1)
	if r.block.open && (kind != frameContinuation || stream != r.block.stream) {
		r.fail(badFrame)
		return nil
	}
	if !r.block.open && kind != frameHeaders || stream == 0 {
		// net/http refuses HEADERS of stream 0, and CONTINUATION after no HEADERS.
		r.out, r.pass = r.header[:], length
		return nil
	}
	if length > MaxFrame {
		r.fail(frameTooLarge)
		return nil
	}
	payload, err := r.payload(length)
	if err != nil {
		return err
	}
	if kind == frameHeaders {
		payload = r.begin(stream, flags, payload)
	}
	if !r.broken {
		r.decode(payload, flags&flagEndHeaders != 0)
	}
	return nil
}

// payload returns the payload of the frame. It is valid until the next read.
func (r *Reader) payload(length int) ([]byte, error) {
	if length <= r.end-r.start {
		r.start += length
		return r.buf[r.start-length : r.start], nil
	}
	p := r.block.space(length)
	for n := 0; n < length; {
		got, err := r.receive(p[n:])
		if n += got; n < length && err != nil {
			r.broken = true // the rest cannot be read later
			return nil, err
		}
	}
	return p, nil
}

// begin begins a block, and returns the part of the payload that belongs to it.
func (r *Reader) begin(stream uint32, flags byte, payload []byte) []byte {
	padding, dependency := 0, uint32(0)
	if flags&flagPadded != 0 && len(payload) > 0 {
		padding, payload = int(payload[0]), payload[1:]
	} else if flags&flagPadded != 0 {
		padding = 1
	}
	if flags&flagDepen != 0 {
		if len(payload) < 5 {
			r.fail(badFrame)
			return nil
		}
		dependency, payload = binary.BigEndian.Uint32(payload)&(1<<31-1), payload[5:]
	}
	if padding > len(payload) {
		r.fail(badFrame)
		return nil
	}
	r.block.reset(stream, stream > r.last, r.config.ListBytes)
	r.block.endStream = flags&flagEndStream != 0
	r.last = max(r.last, stream)
	if r.block.request && dependency == stream {
		r.block.refuse(badPriority) // net/http's scheduler ignores every other priority
	}
	r.decoder.SetEmitEnabled(true)
	return payload[:len(payload)-padding]
}

// decode decodes a part of the block. At its end it writes what net/http gets.
func (r *Reader) decode(part []byte, last bool) {
	b := &r.block
	b.open = !last
	if b.wire += len(part); b.wire > 2*r.config.ListBytes {
		r.fail(headTooLarge)
		return
	}
	if _, err := r.decoder.Write(part); errors.Is(err, hpack.ErrStringLength) {
		r.fail(headTooLarge)
		return
	} else if err != nil {
		r.fail(badBlock)
		return
	}
	if !last {
		if b.parts++; b.parts > maxContinuations {
			r.fail(badFrame)
		}
		return
	}
	if r.decoder.Close() != nil {
		r.fail(badBlock)
		return
	}
	v := b.judge()
	if v != none && r.config.OnRefuse != nil {
		r.config.OnRefuse(v.refusal())
	}
	r.out = b.encode(v)
}

// add is called for each decoded field.
func (r *Reader) add(f hpack.HeaderField) {
	if !r.block.add(f) {
		r.decoder.SetEmitEnabled(false)
	}
}

// fail ends the connection, with a frame to which net/http responds with GOAWAY and the code of RFC 9113 §7 that v stands for.
func (r *Reader) fail(v violation) {
	if r.config.OnRefuse != nil {
		r.config.OnRefuse(v.refusal())
	}
	r.broken, r.block.open = true, false
	frame := r.block.space(headerSize + 1)
	switch clear(frame); v {
	case badBlock: // COMPRESSION_ERROR: an index of 0
		putHeader(frame, 1, frameHeaders, flagEndHeaders, max(r.block.stream, 1))
		frame[headerSize] = 0x80
		r.out = frame
	case frameTooLarge: // FRAME_SIZE_ERROR: a PING without a payload
		putHeader(frame, 0, framePing, 0, 0)
		r.out = frame[:headerSize]
	default: // PROTOCOL_ERROR: CONTINUATION after no HEADERS
		putHeader(frame, 0, frameContinuation, flagEndHeaders, 1)
		r.out = frame[:headerSize]
	}
}
