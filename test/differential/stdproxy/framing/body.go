package framing

const (
	// maxSizeDigits bounds a chunk's size to 2^60-1 bytes, so that it does not overflow in any parser.
	maxSizeDigits = 15
	// maxSizeLine bounds a chunk's size with its extensions, in bytes. No legitimate use of extensions is known.
	maxSizeLine = 256
)

// body reads bytes of one state of the body.
func (s *scanner) body(b []byte) (int, violation) {
	switch s.state {
	case inBody:
		return s.data(b, atStart), none
	case inChunkData:
		return s.data(b, chunkDataCR), none
	case chunkDataCR:
		if b[0] != '\r' {
			return 0, badChunkEnd
		}
		s.state = chunkDataLF
		return 1, none
	case chunkDataLF:
		if b[0] != '\n' {
			return 0, badChunkEnd
		}
		s.state = chunkStart
		return 1, none
	case chunkSizeLF:
		return s.endSizeLine(b[0])
	default:
		return s.sizeLine(b[0])
	}
}

// data skips the part of the body or chunk that is in b.
func (s *scanner) data(b []byte, next state) int {
	n := min(uint64(len(b)), s.left)
	if s.left -= n; s.left == 0 {
		s.state = next
	}
	return int(n)
}

// sizeLine reads one byte of a chunk's size or extension. Whitespace between them is refused, because parsers treat
// it differently.
func (s *scanner) sizeLine(c byte) (int, violation) {
	if s.state == chunkStart {
		s.state, s.left, s.line = inChunkSize, 0, 0
	}
	digits := s.line
	if s.line++; s.line > maxSizeLine {
		return 0, badChunkExtension
	}
	switch {
	case c == '\n':
		return 0, bareLineEnd
	case c == '\r' && digits > 0:
		s.state = chunkSizeLF
	case s.state == inChunkExtension:
		if !isValue(c) || c >= 0x80 {
			return 0, badChunkExtension
		}
	case c == ';' && digits > 0:
		s.state = inChunkExtension
	default:
		digit, ok := hexDigit(c)
		if !ok || digits == maxSizeDigits {
			return 0, badChunkSize
		}
		s.left = s.left<<4 | digit
	}
	return 1, none
}

// endSizeLine continues with the chunk's data, or with the trailer after the last chunk.
func (s *scanner) endSizeLine(c byte) (int, violation) {
	if c != '\n' {
		return 0, bareLineEnd
	}
	if s.left > 0 {
		s.state = inChunkData
		return 1, none
	}
	s.state, s.trailer, s.size, s.fields = lineStart, true, 0, 0
	return 1, none
}
