package h2

import (
	"encoding/binary"
	"slices"
)

// encode writes the block for net/http, or the block that stands for it if it is refused.
func (b *block) encode(v violation) []byte {
	b.acquire()
	b.out = append(b.out[:0], make([]byte, headerSize)...)
	switch {
	case v == none:
		for i := range b.fields {
			b.out = appendField(b.out, b.fields[i].Name, b.fields[i].Value)
		}
	case b.request:
		b.appendRefused(v)
	default:
		b.out = appendField(b.out, ":refused", "") // net/http resets the stream of such a trailer
	}
	b.split()
	return b.out
}

// split divides the block into frames.
func (b *block) split() {
	size := len(b.out) - headerSize
	more := max(size-1, 0) / MaxFrame // CONTINUATION frames
	b.out = slices.Grow(b.out, more*headerSize)[:len(b.out)+more*headerSize]
	for i := more; i >= 0; i-- {
		from, to, length := headerSize+i*MaxFrame, i*(headerSize+MaxFrame), min(size-i*MaxFrame, MaxFrame)
		copy(b.out[to+headerSize:], b.out[from:from+length])
		kind, flags := byte(frameContinuation), byte(0)
		if i == 0 {
			kind = frameHeaders
			if b.endStream {
				flags = flagEndStream
			}
		}
		if i == more {
			flags |= flagEndHeaders
		}
		putHeader(b.out[to:], length, kind, flags, b.stream)
	}
}

// putHeader writes the header of a frame.
func putHeader(p []byte, length int, kind, flags byte, stream uint32) {
	binary.BigEndian.PutUint32(p, uint32(length)<<8|uint32(kind))
	p[4] = flags
	binary.BigEndian.PutUint32(p[5:], stream)
}

// appendField appends a literal field that is not indexed, RFC 7541 §6.2.2, or one of the static table.
func appendField(b []byte, name, value string) []byte {
	if i := staticField(name, value); i > 0 {
		return append(b, 0x80|i)
	}
	if i := staticName(name); i > 0 {
		b = appendInt(b, 4, i)
	} else {
		b = appendString(append(b, 0), name)
	}
	return appendString(b, value)
}

// appendString appends a string without Huffman coding, RFC 7541 §5.2.
func appendString(b []byte, s string) []byte {
	return append(appendInt(b, 7, len(s)), s...)
}

// appendInt appends an integer with a prefix of some bits, RFC 7541 §5.1. The other bits are 0.
func appendInt(b []byte, prefix, n int) []byte {
	limit := 1<<prefix - 1
	if n < limit {
		return append(b, byte(n))
	}
	b = append(b, byte(limit))
	for n -= limit; n >= 1<<7; n >>= 7 {
		b = append(b, byte(n)|1<<7)
	}
	return append(b, byte(n))
}

// staticField returns the index of frequent fields in the static table, RFC 7541 appendix A; 0 for others.
func staticField(name, value string) byte {
	if name == "" || name[0] != ':' {
		return 0
	}
	switch value {
	case "GET":
		if name == ":method" {
			return 2
		}
	case "POST":
		if name == ":method" {
			return 3
		}
	case "/":
		if name == ":path" {
			return 4
		}
	case "http":
		if name == ":scheme" {
			return 6
		}
	case "https":
		if name == ":scheme" {
			return 7
		}
	}
	return 0
}

// staticName returns the index of names of requests in the static table; 0 for others. It saves net/http an allocation.
func staticName(name string) int {
	switch name {
	case ":authority":
		return 1
	case ":method":
		return 2
	case ":path":
		return 4
	case ":scheme":
		return 6
	case "accept-encoding":
		return 16
	case "accept-language":
		return 17
	case "accept":
		return 19
	case "authorization":
		return 23
	case "cache-control":
		return 24
	case "content-length":
		return 28
	case "content-type":
		return 31
	case "cookie":
		return 32
	case "host":
		return 38
	case "if-modified-since":
		return 40
	case "if-none-match":
		return 41
	case "range":
		return 50
	case "referer":
		return 51
	case "user-agent":
		return 58
	case "via":
		return 60
	}
	return 0
}
