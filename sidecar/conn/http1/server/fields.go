package server

import (
	"math"

	"github.com/posterndev/postern/sidecar/conn/http1/wire"
)

// startLine begins a field's line, or the empty line after the last one.
func (s *scanner) startLine(c byte) (int, violation) {
	switch {
	case c == '\r':
		s.state = headLF
		return 1, none
	case c == '\n':
		return 0, bareLineEnd
	case wire.IsSpace(c):
		return 0, obsoleteFold
	case !wire.IsToken(c):
		return 0, badFieldName
	}
	if s.fields++; s.fields > s.limits.Fields {
		return 0, tooManyFields
	}
	if s.marks != nil {
		s.marks.fields = append(s.marks.fields, mark{name: s.size})
	}
	s.state, s.nameLen = inName, 1
	s.name[0] = wire.Lower(c)
	return 1, none
}

func (s *scanner) fieldName(b []byte) (int, violation) {
	for i, c := range b {
		if wire.IsToken(c) {
			if s.nameLen < len(s.name) {
				s.name[s.nameLen] = wire.Lower(c)
			}
			s.nameLen++
			continue
		}
		if wire.IsSpace(c) {
			return 0, spaceBeforeColon
		}
		if c != ':' {
			return 0, badFieldName
		}
		if s.marks != nil {
			m := &s.marks.fields[len(s.marks.fields)-1]
			m.nameEnd, m.value = s.size+i, s.size+i+1
		}
		return i + 1, s.startValue()
	}
	return len(b), none
}

// startValue checks the field whose name has been read.
func (s *scanner) startValue() violation {
	s.state, s.valuePos, s.valueEnd, s.known = inValue, 0, false, otherField
	if s.nameLen > len(s.name) {
		return none
	}
	repeated := none
	switch string(s.name[:s.nameLen]) {
	case "host":
		s.known, repeated = hostField, duplicateHost
	case "content-length":
		s.known, repeated = lengthField, duplicateLength
	case "transfer-encoding":
		s.known, repeated = codingField, badCoding
	case "expect":
		s.known, repeated = expectField, badExpectation
	case "trailer":
		s.known, s.nameLen = trailerField, 0
	default:
		return none
	}
	if s.trailer && s.known > codingField {
		s.known = otherField // never sent to the app
		return none
	}
	if s.trailer {
		return forbiddenTrailer // RFC 9110 §6.5.1
	}
	if s.seen[s.known] && s.known != trailerField {
		return repeated
	}
	s.seen[s.known] = true
	return none
}

func (s *scanner) fieldValue(b []byte) (int, violation) {
	i := wire.ValueLen(b)
	switch {
	case i == len(b):
		return i, none
	case b[i] == '\r':
		s.endMark(i)
		s.state = lineLF
		return i + 1, none
	case b[i] == '\n':
		return 0, bareLineEnd
	}
	return 0, badFieldValue
}

// endMark records that the field's value ends at i.
func (s *scanner) endMark(i int) {
	if s.marks != nil {
		s.marks.fields[len(s.marks.fields)-1].valueEnd = s.size + i
	}
}

// knownValue reads one byte of a field that frames, routes or announces.
func (s *scanner) knownValue(c byte) (int, violation) {
	switch {
	case c == '\r':
		s.endMark(0)
		s.state = lineLF
		return 1, s.endValue()
	case c == '\n':
		return 0, bareLineEnd
	case wire.IsSpace(c):
		s.valueEnd = s.valuePos > 0
		return 1, none
	case s.known == lengthField:
		return s.lengthDigit(c)
	case !wire.IsValue(c) && s.known != codingField:
		return 0, badFieldValue
	case s.known == hostField && (s.valueEnd || !isHost(c)):
		return 0, badHost
	case s.known == codingField && !s.continues("chunked", c):
		return 0, badCoding
	case s.known == expectField && !s.continues(continueExpectation, c):
		return 0, badExpectation
	case s.known == trailerField:
		return 1, s.announce(c)
	}
	s.valuePos++
	return 1, none
}

// continueExpectation is the only expectation that there is, RFC 9110 §10.1.1.
const continueExpectation = "100-continue"

// continues reports whether c is the next byte of the value want.
func (s *scanner) continues(want string, c byte) bool {
	return !s.valueEnd && s.valuePos < len(want) && wire.Lower(c) == want[s.valuePos]
}

// announce reads one byte of the list of a Trailer field.
func (s *scanner) announce(c byte) violation {
	switch {
	case c == ',':
		return s.endAnnounced()
	case s.valueEnd || s.nameLen >= len(s.name):
		s.nameLen = len(s.name) + 1 // no known name
	default:
		s.name[s.nameLen] = wire.Lower(c)
		s.nameLen++
	}
	s.valuePos++
	return none
}

// endAnnounced checks a name in the list of a Trailer field. Each is a place in a map, which needs twenty times the memory of a short name: so there
// may be as many as there may be fields.
func (s *scanner) endAnnounced() violation {
	length := s.nameLen
	s.nameLen, s.valuePos, s.valueEnd = 0, 0, false
	if length > 0 {
		s.announced++
	}
	if s.announced > s.limits.Fields {
		return tooManyFields
	}
	if length > len(s.name) {
		return none
	}
	switch string(s.name[:length]) {
	case "content-length", "transfer-encoding", "trailer":
		return forbiddenTrailer
	}
	return none
}

func (s *scanner) lengthDigit(c byte) (int, violation) {
	if s.valueEnd || c < '0' || c > '9' {
		return 0, badLength
	}
	digit := uint64(c - '0')
	if s.left > (math.MaxInt64-digit)/10 {
		return 0, badLength
	}
	s.left = s.left*10 + digit
	s.valuePos++
	return 1, none
}

func (s *scanner) endValue() violation {
	switch {
	case s.known == lengthField && s.valuePos == 0:
		return badLength
	case s.known == codingField && s.valuePos != len("chunked"):
		return badCoding
	case s.known == expectField && s.valuePos > 0 && s.valuePos != len(continueExpectation):
		return badExpectation
	case s.known == trailerField:
		return s.endAnnounced()
	}
	return none
}

// endFields ends the head and decides how its body is framed (RFC 9112 §6.3), or ends the message after its trailer.
func (s *scanner) endFields() violation {
	if s.trailer {
		s.state = atStart
		return none
	}
	length, coding := s.seen[lengthField], s.seen[codingField]
	switch {
	case coding && s.minor == '0':
		return codingBefore11
	case coding && length:
		return lengthAndCoding
	case s.minor == '1' && !s.seen[hostField]:
		return missingHost
	case coding:
		s.state = chunkStart
	case s.left > 0:
		s.state = inBody
	default:
		s.state = atStart
	}
	s.heads++
	return none
}
