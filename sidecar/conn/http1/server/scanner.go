package server

import "github.com/posterndev/postern/sidecar/conn/http1/wire"

// state is the position of the next byte in a message.
type state uint8

const (
	atStart state = iota // before a message's first byte
	inMethod
	inTarget
	inVersion
	lineLF // after the CR of a line of the head or trailer
	lineStart
	inName
	inValue
	headLF // after the CR of the empty line
	inBody // of a known length
	chunkStart
	inChunkSize
	inChunkExtension
	chunkSizeLF
	inChunkData
	chunkDataCR
	chunkDataLF
)

// field is the framing field that is being read.
type field uint8

const (
	otherField field = iota
	hostField
	lengthField
	codingField
	expectField
	trailerField
)

// Limits bounds a request's head, and separately its trailer.
type Limits struct {
	// HeadBytes is the maximum size of a head with the request line, in bytes; 0 is 64 KiB.
	HeadBytes int
	// Fields is the maximum number of header fields, and of the trailer fields that a head announces; 0 is 128.
	Fields int
}

func (l Limits) withDefaults() Limits {
	if l.HeadBytes <= 0 {
		l.HeadBytes = 64 << 10
	}
	if l.Fields <= 0 {
		l.Fields = 128
	}
	return l
}

// marks are the positions of a head's parts, in bytes from its first byte. A trailer's fields replace those of the head.
type marks struct {
	method, target int // where they end; the target begins one byte after the method's end
	fields         []mark
}

// mark is the position of a field.
type mark struct{ name, nameEnd, value, valueEnd int }

// scanner parses the requests of an HTTP/1.x connection byte by byte (RFC 9112). It stores no bytes of a message, only positions.
type scanner struct {
	limits Limits
	// marks gets the positions; nil for none.
	marks *marks

	state   state
	trailer bool // the fields being read are a chunked body's trailer
	minor   byte // '0' or '1'
	known   field
	seen    [trailerField + 1]bool
	// form checks the request target.
	form targetForm
	// name is the method, then the current field's name in lower case, and then the current name in the list of a Trailer field, up to
	// the length of the longest known name.
	name    [len("transfer-encoding")]byte
	nameLen int
	// valuePos counts the relevant bytes of the version, or of a known field's value; valueEnd says that whitespace
	// has followed them.
	valuePos int
	valueEnd bool
	// size is the size of the head or trailer so far, in bytes, and fields the number of its lines. announced is the number of names that Trailer
	// fields list.
	size, fields, announced int
	// left is the Content-Length while the head is read, and after that the number of bytes left of the body or
	// chunk.
	left uint64
	// line is the length of the current chunk's size line, in bytes.
	line int
	// heads is the number of complete heads.
	heads uint64
}

// advance reads b up to the end of the current message, and returns the number of bytes read. If b violates the
// protocol, it returns the violation; the scanner must not be used after that.
func (s *scanner) advance(b []byte) (int, violation) {
	for i := 0; i < len(b); {
		n, v := s.step(b[i:])
		if v != none {
			return i, v
		}
		i += n
		if s.state == atStart {
			return i, none
		}
	}
	return len(b), none
}

// step reads at least one byte of b.
func (s *scanner) step(b []byte) (int, violation) {
	if s.state >= inBody {
		return s.body(b)
	}
	n, v := s.head(b)
	if s.size += n; v == none && s.size > s.limits.HeadBytes {
		return 0, headTooLarge
	}
	return n, v
}

// head reads bytes of one state of the request line, the fields or the trailer.
func (s *scanner) head(b []byte) (int, violation) {
	switch s.state {
	case atStart:
		return s.start(b[0])
	case inMethod:
		return s.method(b)
	case inTarget:
		return s.target(b)
	case inVersion:
		return s.version(b[0])
	case lineLF:
		return s.lineFeed(b[0], lineStart)
	case lineStart:
		return s.startLine(b[0])
	case inName:
		return s.fieldName(b)
	case inValue:
		if s.known == otherField {
			return s.fieldValue(b)
		}
		return s.knownValue(b[0])
	default: // headLF
		if b[0] != '\n' {
			return 0, bareLineEnd
		}
		return 1, s.endFields()
	}
}

// start begins a message. An empty line before it is refused. RFC 9112 §2.2 asks servers to ignore one for the sake
// of very old clients, but net/http does so only after a POST.
func (s *scanner) start(c byte) (int, violation) {
	if !wire.IsToken(c) {
		return 0, badRequestLine
	}
	if s.marks != nil {
		s.marks.fields = s.marks.fields[:0]
	}
	*s = scanner{limits: s.limits, marks: s.marks, heads: s.heads, state: inMethod, nameLen: 1}
	s.name[0] = c
	return 1, none
}

func (s *scanner) method(b []byte) (int, violation) {
	for i, c := range b {
		if wire.IsToken(c) {
			if s.nameLen < len(s.name) {
				s.name[s.nameLen] = c
			}
			s.nameLen++
			continue
		}
		if c != ' ' {
			return 0, badRequestLine
		}
		if s.nameLen == len("CONNECT") && string(s.name[:s.nameLen]) == "CONNECT" {
			return 0, connectMethod
		}
		if s.marks != nil {
			s.marks.method = s.size + i
		}
		s.state = inTarget
		return i + 1, none
	}
	return len(b), none
}

func (s *scanner) target(b []byte) (int, violation) {
	for i, c := range b {
		if wire.IsTarget(c) {
			s.valuePos = 1
			if v := s.form.add(c); v != none {
				return 0, v
			}
			continue
		}
		if c != ' ' || s.valuePos == 0 {
			return 0, badRequestLine
		}
		if v := s.form.end(); v != none {
			return 0, v
		}
		if s.marks != nil {
			s.marks.target = s.size + i
		}
		s.state, s.valuePos = inVersion, 0
		return i + 1, none
	}
	return len(b), none
}

func (s *scanner) version(c byte) (int, violation) {
	const want = "HTTP/1.x"
	switch pos := s.valuePos; {
	case pos < len("HTTP/"):
		if c != want[pos] {
			return 0, badRequestLine
		}
	case pos < len(want)-1:
		if c != want[pos] {
			return 0, badVersion
		}
	case pos == len(want)-1:
		if c != '0' && c != '1' {
			return 0, badVersion
		}
		s.minor = c
	case c == '\r':
		s.state = lineLF
	case c == '\n':
		return 0, bareLineEnd
	default:
		return 0, badRequestLine
	}
	s.valuePos++
	return 1, none
}

func (s *scanner) lineFeed(c byte, next state) (int, violation) {
	if c != '\n' {
		return 0, bareLineEnd
	}
	s.state = next
	return 1, none
}
