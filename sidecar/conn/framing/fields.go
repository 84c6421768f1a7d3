package framing

import "math"

// startLine begins a field's line, or the empty line after the last one.
func (s *scanner) startLine(c byte) (int, violation) {
	switch {
	case c == '\r':
		s.state = headLF
		return 1, none
	case c == '\n':
		return 0, bareLineEnd
	case isSpace(c):
		return 0, obsoleteFold
	case !isToken(c):
		return 0, badFieldName
	}
	if s.fields++; s.fields > s.limits.Fields {
		return 0, tooManyFields
	}
	s.state, s.nameLen = inName, 1
	s.name[0] = lower(c)
	return 1, none
}

func (s *scanner) fieldName(b []byte) (int, violation) {
	for i, c := range b {
		if isToken(c) {
			if s.nameLen < len(s.name) {
				s.name[s.nameLen] = lower(c)
			}
			s.nameLen++
			continue
		}
		if isSpace(c) {
			return 0, spaceBeforeColon
		}
		if c != ':' {
			return 0, badFieldName
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
	default:
		return none
	}
	if s.trailer {
		return forbiddenTrailer // RFC 9110 §6.5.1
	}
	if s.seen[s.known] {
		return repeated
	}
	s.seen[s.known] = true
	return none
}

func (s *scanner) fieldValue(b []byte) (int, violation) {
	for i, c := range b {
		if isValue(c) {
			continue
		}
		switch c {
		case '\r':
			s.state = lineLF
			return i + 1, none
		case '\n':
			return 0, bareLineEnd
		}
		return 0, badFieldValue
	}
	return len(b), none
}

// knownValue reads one byte of a Host, Content-Length or Transfer-Encoding.
func (s *scanner) knownValue(c byte) (int, violation) {
	switch {
	case c == '\r':
		s.state = lineLF
		return 1, s.endValue()
	case c == '\n':
		return 0, bareLineEnd
	case isSpace(c):
		s.valueEnd = s.valuePos > 0
		return 1, none
	case s.known == lengthField:
		return s.lengthDigit(c)
	case s.known == hostField:
		if !isValue(c) {
			return 0, badFieldValue
		}
		if s.valueEnd || !isHost(c) {
			return 0, badHost
		}
		s.valuePos++
		return 1, none
	}
	const coding = "chunked"
	if s.valueEnd || s.valuePos == len(coding) || lower(c) != coding[s.valuePos] {
		return 0, badCoding
	}
	s.valuePos++
	return 1, none
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
