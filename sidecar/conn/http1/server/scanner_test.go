package server

import (
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/conn/http1/wire"
)

const (
	get  = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	post = "POST / HTTP/1.1\r\nHost: a\r\n"
)

// scan feeds input in pieces of size, and returns the number of complete messages and the violation.
func scan(input string, size int, limits Limits) (messages int, v violation) {
	s := scanner{limits: limits}
	for len(input) > 0 {
		n, v := s.advance([]byte(input[:min(size, len(input))]))
		if v != none {
			return messages, v
		}
		if input = input[n:]; s.state == atStart {
			messages++
		}
	}
	return messages, none
}

func TestScanner(t *testing.T) {
	tests := map[string]struct {
		input        string
		wantMessages int
		want         violation
	}{
		"plain":                         {get, 1, none},
		"pipelined":                     {get + get + get, 3, none},
		"HTTP/1.0 without host":         {"GET / HTTP/1.0\r\n\r\n", 1, none},
		"length":                        {post + "Content-Length: 5\r\n\r\nhello" + get, 2, none},
		"length with spaces around":     {post + "Content-Length: \t 5 \t\r\n\r\nhello" + get, 2, none},
		"length zero":                   {post + "Content-Length: 0\r\n\r\n" + get, 2, none},
		"chunked":                       {post + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + get, 2, none},
		"chunked in capitals":           {post + "TRANSFER-ENCODING:  ChUnKeD \r\n\r\nA\r\n0123456789\r\n00\r\n\r\n" + get, 2, none},
		"chunked with extension":        {post + "Transfer-Encoding: chunked\r\n\r\n5;a=\"b c\"\r\nhello\r\n0;x\r\n\r\n", 1, none},
		"chunked with trailer":          {post + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\nX-B:\r\n\r\n" + get, 2, none},
		"chunk data looks like framing": {post + "Transfer-Encoding: chunked\r\n\r\n7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", 1, none},
		"body looks like a request":     {post + "Content-Length: 27\r\n\r\n" + get, 1, none},
		"obs-text in value":             {"GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa9\r\n\r\n", 1, none},
		"names near the known ones":     {"GET / HTTP/1.1\r\nHost: a\r\nHosts: b\r\nTransfer-Encodings: x\r\nContent-Lengt: y\r\n\r\n", 1, none},

		"CL.TE":                          {post + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX", 0, lengthAndCoding},
		"TE.CL":                          {post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n8\r\nSMUGGLED\r\n0\r\n\r\n", 0, lengthAndCoding},
		"CL zero and TE":                 {post + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", 0, lengthAndCoding},
		"TE.TE obfuscated":               {post + "Transfer-Encoding: xchunked\r\n\r\n", 0, badCoding},
		"TE twice":                       {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 0, badCoding},
		"TE twice, second identity":      {post + "Transfer-Encoding: chunked\r\nTransfer-encoding: identity\r\n\r\n", 0, badCoding},
		"TE list":                        {post + "Transfer-Encoding: gzip, chunked\r\n\r\n", 0, badCoding},
		"TE chunked, chunked":            {post + "Transfer-Encoding: chunked, chunked\r\n\r\n", 0, badCoding},
		"TE identity":                    {post + "Transfer-Encoding: identity\r\n\r\n", 0, badCoding},
		"TE empty":                       {post + "Transfer-Encoding:\r\n\r\n", 0, badCoding},
		"TE prefix of chunked":           {post + "Transfer-Encoding: chunk\r\n\r\n", 0, badCoding},
		"TE with vertical tab":           {post + "Transfer-Encoding: \vchunked\r\n\r\n", 0, badCoding},
		"TE quoted":                      {post + "Transfer-Encoding: \"chunked\"\r\n\r\n", 0, badCoding},
		"TE with a space inside":         {post + "Transfer-Encoding: chun ked\r\n\r\n", 0, badCoding},
		"TE in HTTP/1.0":                 {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 0, codingBefore11},
		"TE folded":                      {post + "Transfer-Encoding:\r\n chunked\r\n\r\n", 0, badCoding},
		"TE with space before the colon": {post + "Transfer-Encoding : chunked\r\n\r\n", 0, spaceBeforeColon},
		"TE after a bare CR":             {post + "X: y\rTransfer-Encoding: chunked\r\n\r\n", 0, bareLineEnd},
		"TE after a bare LF":             {post + "X: y\nTransfer-Encoding: chunked\r\n\r\n", 0, bareLineEnd},
		"CL twice, differing":            {post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 0, duplicateLength},
		"CL twice, the same":             {post + "Content-Length: 5\r\ncontent-length: 5\r\n\r\n", 0, duplicateLength},
		"CL list":                        {post + "Content-Length: 5, 5\r\n\r\n", 0, badLength},
		"CL with sign":                   {post + "Content-Length: +5\r\n\r\n", 0, badLength},
		"CL negative":                    {post + "Content-Length: -1\r\n\r\n", 0, badLength},
		"CL hexadecimal":                 {post + "Content-Length: 0x5\r\n\r\n", 0, badLength},
		"CL empty":                       {post + "Content-Length: \r\n\r\n", 0, badLength},
		"CL with a space inside":         {post + "Content-Length: 1 0\r\n\r\n", 0, badLength},
		"CL overflow":                    {post + "Content-Length: 9223372036854775808\r\n\r\n", 0, badLength},
		"CL overflow of 64 bits":         {post + "Content-Length: 18446744073709551621\r\n\r\n", 0, badLength},
		"CL with bare LF":                {post + "Content-Length: 5\n\r\nhello", 0, bareLineEnd},
		"host twice":                     {"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 0, duplicateHost},
		"host missing":                   {"GET / HTTP/1.1\r\nX: a\r\n\r\n", 0, missingHost},
		"space before colon":             {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 0, spaceBeforeColon},
		"fold":                           {"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 0, obsoleteFold},
		"fold in the first line":         {"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", 0, obsoleteFold},
		"no colon":                       {"GET / HTTP/1.1\r\nHost\r\n\r\n", 0, badFieldName},
		"empty name":                     {"GET / HTTP/1.1\r\n: a\r\n\r\n", 0, badFieldName},
		"name not a token":               {"GET / HTTP/1.1\r\nX(y): a\r\n\r\n", 0, badFieldName},
		"NUL in name":                    {"GET / HTTP/1.1\r\nX\x00: a\r\n\r\n", 0, badFieldName},
		"name above ASCII":               {"GET / HTTP/1.1\r\nX\xc3\xa9: a\r\n\r\n", 0, badFieldName},
		"NUL in value":                   {"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n", 0, badFieldValue},
		"DEL in value":                   {"GET / HTTP/1.1\r\nX: a\x7f\r\n\r\n", 0, badFieldValue},
		"bare LF in request line":        {"GET / HTTP/1.1\nHost: a\r\n\r\n", 0, bareLineEnd},
		"bare LF ends the head":          {"GET / HTTP/1.1\r\nHost: a\r\n\n", 0, bareLineEnd},
		"bare CR ends the head":          {"GET / HTTP/1.1\r\nHost: a\r\n\rX", 0, bareLineEnd},
		"empty line first":               {"\r\n" + get, 0, badRequestLine},
		"empty line between":             {get + "\r\n" + get, 1, badRequestLine},
		"HTTP/0.9":                       {"GET /\r\n", 0, badRequestLine},
		"two spaces":                     {"GET  / HTTP/1.1\r\n", 0, badRequestLine},
		"tab for space":                  {"GET\t/ HTTP/1.1\r\n", 0, badRequestLine},
		"space in target":                {"GET /a b HTTP/1.1\r\n", 0, badRequestLine},
		"NUL in target":                  {"GET /a\x00 HTTP/1.1\r\n", 0, badRequestLine},
		"space after version":            {"GET / HTTP/1.1 \r\n", 0, badRequestLine},
		"lower-case version":             {"GET / http/1.1\r\n", 0, badRequestLine},
		"HTTP/1.2":                       {"GET / HTTP/1.2\r\n", 0, badVersion},
		"HTTP/2.0":                       {"PRI * HTTP/2.0\r\n\r\n", 0, badVersion},
		"TLS hello":                      {"\x16\x03\x01\x02\x00", 0, badRequestLine},
		"proxy protocol":                 {"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", 0, badTarget},

		"chunk size empty":              {post + "Transfer-Encoding: chunked\r\n\r\n\r\n", 0, badChunkSize},
		"chunk size with 0x":            {post + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n", 0, badChunkSize},
		"chunk size with sign":          {post + "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n", 0, badChunkSize},
		"chunk size negative":           {post + "Transfer-Encoding: chunked\r\n\r\n-5\r\n", 0, badChunkSize},
		"chunk size with underscore":    {post + "Transfer-Encoding: chunked\r\n\r\n1_0\r\n", 0, badChunkSize},
		"chunk size huge":               {post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("f", 16) + "\r\n", 0, badChunkSize},
		"chunk size of many zeros":      {post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("0", 16) + "\r\n", 0, badChunkSize},
		"chunk size, space behind":      {post + "Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n", 0, badChunkSize},
		"chunk size, space before ext":  {post + "Transfer-Encoding: chunked\r\n\r\n5 ;x\r\nhello\r\n", 0, badChunkSize},
		"chunk size, bare LF":           {post + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n", 0, bareLineEnd},
		"chunk size, bare CR":           {post + "Transfer-Encoding: chunked\r\n\r\n5\rhello\r\n", 0, bareLineEnd},
		"extension alone":               {post + "Transfer-Encoding: chunked\r\n\r\n;x\r\n", 0, badChunkSize},
		"bare LF in extension":          {post + "Transfer-Encoding: chunked\r\n\r\n5;x\nhello\r\n", 0, bareLineEnd}, // CVE-2025-22871
		"bare CR in extension":          {post + "Transfer-Encoding: chunked\r\n\r\n5;x\ry\r\nhello\r\n", 0, bareLineEnd},
		"NUL in extension":              {post + "Transfer-Encoding: chunked\r\n\r\n5;\x00\r\n", 0, badChunkExtension},
		"extension long":                {post + "Transfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("x", maxSizeLine), 0, badChunkExtension},
		"chunk data too long":           {post + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", 0, badChunkEnd},
		"chunk data ended by LF":        {post + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n", 0, badChunkEnd},
		"chunk data ended by CR":        {post + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r0\r\n\r\n", 0, badChunkEnd},
		"trailer content-length":        {post + "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", 0, forbiddenTrailer},
		"trailer transfer-encoding":     {post + "Transfer-Encoding: chunked\r\n\r\n0\r\ntransfer-encoding: chunked\r\n\r\n", 0, forbiddenTrailer},
		"trailer host":                  {post + "Transfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n", 0, forbiddenTrailer},
		"trailer folded":                {post + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n 2\r\n\r\n", 0, obsoleteFold},
		"trailer too many":              {post + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X: 1\r\n", 10), 0, tooManyFields},
		"trailer too large":             {post + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + strings.Repeat("x", 300), 0, headTooLarge},
		"too many announced trailers":   {post + "Trailer: a,b,c,d\r\nTrailer: e,f,g,h,i\r\n", 0, tooManyFields},
		"too many fields":               {post + strings.Repeat("X: 1\r\n", 10), 0, tooManyFields},
		"head too large by a value":     {post + "X: " + strings.Repeat("x", 300), 0, headTooLarge},
		"head too large by a name":      {post + strings.Repeat("x", 300), 0, headTooLarge},
		"head too large by the target":  {"GET /" + strings.Repeat("x", 300), 0, headTooLarge},
		"head too large by the method":  {strings.Repeat("X", 300), 0, headTooLarge},
		"head too large by white space": {post + "Content-Length:" + strings.Repeat(" ", 300), 0, headTooLarge},
	}
	limits := Limits{HeadBytes: 256, Fields: 8}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 2, 3, 7, 64, 4096} {
				messages, v := scan(tt.input, size, limits)
				if v != tt.want || messages != tt.wantMessages {
					t.Errorf("in pieces of %d: %d messages and %q, want %d and %q",
						size, messages, v.refusal().Code, tt.wantMessages, tt.want.refusal().Code)
				}
			}
		})
	}
}

func TestRefusalsAreDistinct(t *testing.T) {
	seen := map[string]violation{}
	for v := badRequestLine; v <= badExpectation; v++ {
		refusal := v.refusal()
		if other, ok := seen[string(refusal.Code)]; ok {
			t.Errorf("violations %d and %d share the code %q", v, other, refusal.Code)
		}
		seen[string(refusal.Code)] = v
		if refusal.Status < 400 || refusal.Detail == "" {
			t.Errorf("violation %d has status %d and detail %q", v, refusal.Status, refusal.Detail)
		}
	}
}

func TestTokenAgreesWithRFC9110(t *testing.T) {
	const marks = "!#$%&'*+-.^_`|~"
	for c := range 256 {
		b := byte(c)
		want := strings.IndexByte(marks, b) >= 0 || '0' <= b && b <= '9' || 'a' <= wire.Lower(b) && wire.Lower(b) <= 'z'
		if wire.IsToken(b) != want {
			t.Errorf("wire.IsToken(%q) = %v", b, !want)
		}
	}
}
