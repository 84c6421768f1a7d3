package differential

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/posterndev/postern/test/differential/stdproxy/framing"
)

// of returns one of the values.
func of(r *rand.Rand, values ...string) string { return values[r.IntN(len(values))] }

// mostly returns plain in 7 of 8 cases, and otherwise one of the values.
func mostly(r *rand.Rand, plain string, values ...string) string {
	if r.IntN(8) > 0 {
		return plain
	}
	return of(r, values...)
}

// generateRequest returns a case whose requests are mostly valid and sometimes odd or broken.
func generateRequest(r *rand.Rand, n int) testCase {
	c := testCase{name: fmt.Sprintf("generated request %d", n), sequential: r.IntN(2) == 0}
	var b strings.Builder
	for range 1 + r.IntN(3) {
		b.WriteString(oneRequest(r))
	}
	text := b.String()
	if r.IntN(6) == 0 {
		text = mutate(r, text)
	}
	if r.IntN(12) == 0 {
		text = text[:r.IntN(len(text))+1]
	}
	if strings.HasPrefix(text, "PRI ") {
		text = "X" + text // the sidecar speaks HTTP/2 too
	}
	c.bytes = text
	if !c.sequential && r.IntN(3) == 0 && len(text) > 1 {
		c.splits = []int{1 + r.IntN(len(text)-1)}
	}
	plan := framing.Read([]byte(text))
	for _, message := range plan.Messages {
		c.replies = append(c.replies, requestReply(r, string(message)))
	}
	return c
}

// requestReply returns the reply to a generated request: mostly a plain one.
func requestReply(r *rand.Rand, message string) reply {
	answer := reply{}
	if strings.Contains(strings.ToLower(message), "100-continue") {
		answer.interim = mostly(r, "HTTP/1.1 100 Continue\r\n\r\n", "")
	}
	switch r.IntN(10) {
	case 0:
		answer.raw = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
	case 1:
		answer.raw = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nX-A: 1\r\nX-A: 2\r\n\r\nnone"
	}
	return answer
}

func oneRequest(r *rand.Rand) string {
	method := mostly(r, of(r, "GET", "GET", "POST", "PUT"), "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "X-Y", "PRI", "G@T")
	target := mostly(r, of(r, "/", "/a/b", "/x?q=1&r=2", "/denied/a"), targets...)
	version := mostly(r, "HTTP/1.1", "HTTP/1.0", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 ", "HTTP/01.1", "")
	var fields []string
	if version != "HTTP/1.0" || r.IntN(2) == 0 {
		fields = append(fields, mostly(r, "Host: a", "Host: a:80", "Host: A.example", "host:a", "Host:", "Host: a b", "Host: a/b", "Host: [::1]:80", "X-No-Host: a"))
	}
	for range r.IntN(5) {
		fields = append(fields, of(r, requestFields...))
	}
	framed, body := "", ""
	if method == "POST" || method == "PUT" || method == "PATCH" || r.IntN(8) == 0 {
		framed, body = requestBody(r)
	}
	if framed != "" {
		fields = append(fields, framed)
	}
	if len(framed) > 0 && r.IntN(10) == 0 {
		fields = append(fields, mostly(r, "Expect: 100-continue", "Expect: 100-Continue", "Expect: x", "Expect:"))
	}
	r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	end := mostly(r, "\r\n", "\r\n", "\r\n", "\r\n", "\n")
	head := method + " " + target + " " + version + end
	for _, f := range fields {
		head += f + end
	}
	return head + end + body
}

// targets are request targets other than plain ones.
var targets = []string{
	"*", "http://a/b", "HTTP://a/b", "https://a/", "http://a", "http://u@a/", "http://a:x/", "a", "", "//a/b", "/a//b", "/a/../b", "/a/./b", "/a/..", "/%2e%2e/a", "/a%2fb", "/a%2Fb", "/a%5cb",
	"/a\\b", "/%", "/%4", "/%zz", "/%00", "/a%0ab", "/a;b=c/d", "/a;b", "/a?", "/a??b", "/a?%zz", "/a#b", "/a?b#c", "/\xc3\xa9", "/%c3%a9", "/a|b", "/a\"b", "/{x}", "/a b", "/~a", "/denied/../x", "/DENIED/x", "/denied", "/%64enied/x",
	"/denied%2fx", "http://a/denied/x", "/x?a=/denied/", "/" + strings.Repeat("a", 2000), "?a", "/?",
}

// requestFields are fields that matter to a proxy, or that are odd.
var requestFields = []string{
	"Accept: */*", "Accept: text/html", "User-Agent: test/1", "User-Agent:", "Cookie: a=b", "Cookie: c=d", "X-A: 1", "X-A: 2", "x-a: 3", "X-Empty:", "X-Space:   a  b  ", "X-Tab:\ta\t", "X-Utf8: \xc3\xa9", "X-Latin: \xe9",
	"Connection: close", "Connection: keep-alive", "Connection: X-A", "Connection: close, X-A", "Connection: Upgrade", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers", "TE: gzip", "TE: trailers, deflate", "Trailer: X-Sum", "Trailer: Host",
	"Trailer: Content-Length", "Upgrade: h2c", "Upgrade: websocket", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA", "Range: bytes=0-1", "If-None-Match: \"a\"", "Accept-Encoding: gzip", "Accept-Encoding: identity", "Origin: https://shop.example", "Origin: null",
	"X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: a", "X-Forwarded-Proto: https", "X-Forwarded-Host: b", "X-Forwarded-Port: 1", "X-Real-Ip: 1.2.3.4", "Forwarded: for=1.2.3.4", "Via: 1.1 x", "X-Forwarded_For: 1", "X_Under: 1", "Postern-Session: a",
	"Authorization: Bearer x", "Authorization: Basic eDp5", "Proxy-Authorization: Basic eDp5", "Content-Type: text/plain", "Content-Type: application/grpc", "Content-Encoding: gzip", "Max-Forwards: 0", "X-Request-Id: abc", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	"X-Bad\x00: 1", "X-Bad: a\x00b", "X-Bad: a\x01b", "X-Bad: a\x7fb", "X Bad: 1", "X-Bad : 1", " X-Fold: 1", "X-No-Colon", ": empty", "X(y): 1", "X-\xc3\xa9: 1", "X-Long: " + strings.Repeat("a", 5000), "X-Cr: a\rb", "Content-Length : 5",
	"Access-Control-Request-Method: GET", "Date: x", "Server: y", "Alt-Used: a", "Early-Data: 1", "Priority: u=1", "X-Http-Method-Override: DELETE", "If-Modified-Since: x", "Content-Length: 0",
}

// requestBody returns the field that frames a body, and the body.
func requestBody(r *rand.Rand) (field, body string) {
	size := []int{0, 1, 5, 100, 4096, 5000, 70000}[r.IntN(7)]
	body = strings.Repeat("b", size)
	if r.IntN(3) > 0 {
		length := mostly(r, fmt.Sprint(size), "+5", "-1", "0x5", " 5 ", "5, 5", "", "05", "5 5", "9223372036854775808", "1e1", "5\t")
		return mostly(r, "Content-Length", "content-length", "CONTENT-LENGTH") + ": " + length, body
	}
	field = "Transfer-Encoding: " + mostly(r, "chunked", "Chunked", "CHUNKED", "gzip, chunked", "chunked, chunked", "identity", "xchunked", "", "chunked;a=b", "\x0bchunked", "chunked ")
	if r.IntN(20) == 0 {
		field += "\r\nContent-Length: 5"
	}
	trailer := mostly(r, "", "X-Sum: 1\r\n", "X-Sum: 1\r\nX-Other: 2\r\n", "Host: b\r\n", "Content-Length: 5\r\n", "Authorization: x\r\n", "X-Forwarded-For: 9.9.9.9\r\n", " fold\r\n", "X-Bad : 1\r\n", "Cookie: x\r\n")
	if trailer != "" && r.IntN(2) == 0 {
		field += "\r\nTrailer: X-Sum"
	}
	return field, chunk(r, body) + trailer + "\r\n"
}

// chunk returns body in chunks, with the last chunk and without a trailer.
func chunk(r *rand.Rand, body string) string {
	var out strings.Builder
	for len(body) > 0 {
		n := min(len(body), 1+r.IntN(3000))
		extension := mostly(r, "", ";a=b", ";a=\"b c\"", ";", " ;a", ";a\nb", ";\x00", " ")
		size := mostly(r, fmt.Sprintf("%x", n), fmt.Sprintf("%X", n), fmt.Sprintf("0%x", n), fmt.Sprintf("0x%x", n), fmt.Sprintf("+%x", n), "g", strings.Repeat("f", 17))
		if r.IntN(6) > 0 {
			size, extension = fmt.Sprintf("%x", n), ""
		}
		out.WriteString(size + extension + "\r\n" + body[:n] + mostly(r, "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "", "x\r\n"))
		body = body[n:]
	}
	return out.String() + mostly(r, "0\r\n", "00\r\n", "0;x\r\n", "0 \r\n", "-0\r\n", "0\n")
}

// mutate changes a few bytes.
func mutate(r *rand.Rand, text string) string {
	b := []byte(text)
	for range 1 + r.IntN(3) {
		at := r.IntN(len(b))
		switch r.IntN(4) {
		case 0:
			b[at] = byte(r.IntN(256))
		case 1:
			b = append(b[:at], b[min(at+1, len(b)):]...)
		case 2:
			b = append(b[:at], append([]byte(of(r, "\r", "\n", "\x00", " ", "\t", ":", "\r\n", "0", ",")), b[at:]...)...)
		case 3:
			to := min(len(b), at+1+r.IntN(20))
			b = append(b[:to], append(append([]byte{}, b[at:to]...), b[to:]...)...)
		}
		if len(b) == 0 {
			return "X"
		}
	}
	return string(b)
}
