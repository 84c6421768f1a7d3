package h2

import (
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"
)

// scratch is the memory for one block. Only connections that have a block in progress hold one.
type scratch struct {
	frame, out []byte
	fields     []hpack.HeaderField
}

// maxKept bounds the memory that the pool keeps of one scratch, in bytes, and in fields.
const (
	maxKeptBytes  = 4 << 10
	maxKeptFields = 64
)

var scratches = sync.Pool{New: func() any { return &scratch{} }}

// pseudo are the fields of a request line, RFC 9113 §8.3.1.
type pseudo uint8

const (
	method pseudo = iota
	scheme
	authority
	path
	pseudos
)

// block is a header block that is being decoded.
type block struct {
	*scratch
	stream uint32
	// open says that CONTINUATION must follow, request that the block is not a trailer.
	open, request, endStream bool
	wire, parts              int // the encoded bytes and the CONTINUATION frames so far
	remain                   int // what is left of the maximum size of the list
	why                      violation

	pseudo      [pseudos]string
	seen        uint8 // a bit for each pseudo
	regular     bool
	te, lengths int
	announced   int // the names that trailer fields list
	host        string
	hosts       bool
}

// reset begins a block.
func (b *block) reset(stream uint32, request bool, listBytes int) {
	*b = block{scratch: b.scratch, stream: stream, request: request, remain: listBytes}
	b.acquire()
	b.fields = b.fields[:0]
}

func (b *block) acquire() {
	if b.scratch == nil {
		b.scratch = scratches.Get().(*scratch)
	}
}

// space returns memory for a frame.
func (b *block) space(n int) []byte {
	b.acquire()
	if cap(b.frame) < n {
		b.frame = make([]byte, n)
	}
	return b.frame[:n]
}

// release returns the memory, unless the block is not complete.
func (b *block) release() {
	if b.scratch == nil || b.open {
		return
	}
	if s := b.scratch; cap(s.frame) <= maxKeptBytes && cap(s.out) <= maxKeptBytes && cap(s.fields) <= maxKeptFields {
		clear(s.fields)
		s.fields = s.fields[:0]
		scratches.Put(s)
	}
	*b = block{stream: b.stream}
}

// refuse refuses the request, for the first of several reasons.
func (b *block) refuse(v violation) {
	if b.why == none {
		b.why = v
	}
}

// add adds a field. It returns false if the list is too large: then no more fields are wanted.
func (b *block) add(f hpack.HeaderField) bool {
	size := len(f.Name) + len(f.Value) + 32
	if size > b.remain {
		b.refuse(headTooLarge)
		return false
	}
	b.remain -= size
	if f.Name == tokenField {
		return true
	}
	b.fields = append(b.fields, f)
	switch {
	case !httpguts.ValidHeaderFieldValue(f.Value):
		b.refuse(badFieldValue)
	case strings.HasPrefix(f.Name, ":"):
		b.addPseudo(f)
	case !isName(f.Name):
		b.regular = true
		b.refuse(badFieldName)
	default:
		b.regular = true
		b.addRegular(f)
	}
	return true
}

func (b *block) addPseudo(f hpack.HeaderField) {
	p := pseudos
	switch f.Name {
	case ":method":
		p = method
	case ":scheme":
		p = scheme
	case ":authority":
		p = authority
	case ":path":
		p = path
	}
	if p == pseudos || b.regular || !b.request || b.seen>>p&1 != 0 {
		b.refuse(badPseudo)
		return
	}
	b.seen |= 1 << p
	b.pseudo[p] = f.Value
}

// addRegular checks the fields that net/http, or the guard, would refuse: connection-specific ones (RFC 9113 §8.2.2) and lengths.
// A length that is not the only one, or malformed, is one of 0 for net/http, which resets the stream at the first byte.
func (b *block) addRegular(f hpack.HeaderField) {
	if !b.request {
		return
	}
	switch f.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		b.refuse(connectionField)
	case "te":
		if b.te++; b.te > 1 || f.Value != "trailers" && f.Value != "" {
			b.refuse(connectionField)
		}
	case "content-length":
		if b.lengths++; b.lengths > 1 {
			b.refuse(duplicateLength)
		} else if _, err := strconv.ParseUint(f.Value, 10, 63); err != nil {
			b.refuse(badLength)
		}
	case "trailer":
		if b.announced += 1 + strings.Count(f.Value, ","); b.announced > maxAnnounced {
			b.refuse(headTooLarge)
		}
	case "host":
		if !b.hosts {
			b.hosts, b.host = true, f.Value
		}
	}
}

// maxAnnounced bounds the trailer fields that a request announces: net/http makes a place in a map of each, which needs twenty times the memory of a
// short name.
const maxAnnounced = 128

// isName reports whether name is a token without uppercase letters, RFC 9113 §8.2.1.
func isName(name string) bool {
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' || !httpguts.IsTokenRune(rune(c)) {
			return false
		}
	}
	return name != ""
}
