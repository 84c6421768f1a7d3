package differential

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generateResponse returns a case with plain requests whose responses are valid, odd or broken.
func generateResponse(r *rand.Rand, n int) testCase {
	c := testCase{name: fmt.Sprintf("generated response %d", n), sequential: true}
	for range 1 + r.IntN(2) {
		method := mostly(r, of(r, "GET", "GET", "POST"), "HEAD", "DELETE", "PUT")
		version := mostly(r, "1.1", "1.1", "1.0")
		text := fmt.Sprintf("%s /r HTTP/%s\r\nHost: a\r\n", method, version)
		switch {
		case method == "POST" && r.IntN(2) == 0:
			text += "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
			if version == "1.0" {
				text = fmt.Sprintf("%s /r HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\n\r\nxy", method)
			}
		case method == "POST" || method == "PUT":
			text += "Content-Length: 5\r\n\r\nhello"
		default:
			text += mostly(r, "", "TE: trailers\r\n", "Connection: close\r\n") + "\r\n"
		}
		c.bytes += text
		c.replies = append(c.replies, oneReply(r, method))
	}
	return c
}

// statusLines are those of responses; mostly the first one is used.
var statusLines = []string{
	"HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.0 200 OK", "HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified", "HTTP/1.1 404 Not Found", "HTTP/1.1 500 Oops", "HTTP/1.1 299 Own Reason", "HTTP/1.1 999 High", "HTTP/1.1 099 Low", "HTTP/1.1 20 Short", "HTTP/1.1 2000 Long",
	"HTTP/1.1 abc", "HTTP/2.0 200 OK", "HTTP/1.2 200 OK", "http/1.1 200 OK", "HTTP/1.1  200 OK", "HTTP/1.1 200 \xc3\xa9", "HTTP/1.1 200 a\x00b", "ICY 200 OK", "", "HTTP/1.1 101 Switching Protocols", "HTTP/1.1 200\tOK", " HTTP/1.1 200 OK", "HTTP/1.1 205 Reset Content",
	"HTTP/1.1 206 Partial Content", "HTTP/1.1 301 Moved", "HTTP/1.1 401 Unauthorized", "HTTP/1.1 +200 OK", "HTTP/1.1 600 X", "HTTP/1.1 000 X", "HTTP/1.1 200 OK OK  OK ",
}

// responseFields are fields that matter to a proxy, or that are odd.
var responseFields = []string{
	"Content-Type: text/html", "Content-Type:", "X-A: 1", "X-A: 2", "x-lower: a", "X-Empty:", "X-Space:   a  b  ", "X-Tab:\ta\t", "X-Utf8: \xc3\xa9", "Set-Cookie: a=b; Path=/", "Set-Cookie: c=d", "Location: /x", "Server: app", "Via: 1.1 y", "Date: Mon, 01 Jan 2024 00:00:00 GMT",
	"Connection: close", "Connection: keep-alive", "Connection: X-A", "Keep-Alive: timeout=5", "Proxy-Connection: close", "Upgrade: h2c", "Upgrade: websocket", "Trailer: X-Sum", "TE: x", "Proxy-Authenticate: Basic", "WWW-Authenticate: Basic realm=x", "Vary: Origin", "Vary: *",
	"Access-Control-Allow-Origin: *", "X-Powered-By: x", "Strict-Transport-Security: max-age=1", "X-Frame-Options: ALLOW", "Postern-Login: x", "Postern-Anything: y", "Content-Encoding: gzip", "Accept-Ranges: bytes", "ETag: \"x\"", "Cache-Control: max-age=1", "Alt-Svc: h3=\":443\"",
	"X-Bad: a\x00b", "X-Bad: a\x01b", "X-Bad: a\rb", "X-Bad\x00: 1", "X Bad: 1", "X-Bad : 1", "X-No-Colon", ": empty", "X(y): 1", "X-\xc3\xa9: 1", "X-Fold: a\r\n b", "X-Fold: a\r\n\tb", " X-First: 1", "X-Long: " + strings.Repeat("a", 9000), "X-Bare: a\nX-Smuggled: b", "Content-Length : 5",
	"Transfer-Encoding: identity", "Content-Range: bytes 0-1/2", "Link: </a>; rel=preload", "X-Del: a\x7fb", "Refresh: 0", "Age: 5", "Warning: 1", "Content-Disposition: attachment", "Content-Language: de",
}

// interims are what comes before a final response.
var interims = []string{
	"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 199 Own\r\nPostern-Login: x\r\n\r\n",
	"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n", "HTTP/1.1 103 Early Hints\nLink: </a>\n\n", "HTTP/1.1 103 Early Hints\r\nX-Bad : 1\r\n\r\n",
	strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 20), "HTTP/1.0 100 Continue\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
}

// oneReply returns what the app sends.
func oneReply(r *rand.Rand, method string) reply {
	status := mostly(r, "HTTP/1.1 200 OK", statusLines...)
	if r.IntN(3) == 0 {
		status = of(r, statusLines[:11]...)
	}
	var fields []string
	for range r.IntN(4) {
		fields = append(fields, of(r, responseFields...))
	}
	framed, body, complete := responseBody(r)
	if framed != "" {
		fields = append(fields, framed)
	}
	r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	end := mostly(r, "\r\n", "\r\n", "\r\n", "\n")
	head := status + end
	for _, f := range fields {
		head += f + end
	}
	answer := reply{raw: head + end, early: r.IntN(10) == 0}
	if method != "HEAD" || r.IntN(6) == 0 {
		answer.raw += body
	}
	if r.IntN(8) == 0 {
		answer.raw = of(r, interims...) + answer.raw
	}
	if r.IntN(15) == 0 {
		answer.raw, complete = answer.raw[:r.IntN(len(answer.raw))], false
	}
	if r.IntN(25) == 0 {
		answer.raw, complete = mutate(r, answer.raw+" "), false
	}
	// What may be incomplete ends the connection, because nothing else would end the wait.
	if !complete || r.IntN(10) == 0 {
		answer.then = closed
	}
	if answer.raw == "" {
		answer.raw = "\r\n"
	}
	return answer
}

// responseBody returns the fields that frame a body, and the body. complete is false if its end is not certain.
func responseBody(r *rand.Rand) (field, body string, complete bool) {
	size := []int{0, 1, 5, 100, 2048, 4096, 5000, 40000, 300000}[r.IntN(9)]
	body = strings.Repeat("r", size)
	switch r.IntN(8) {
	case 0, 1, 2:
		return fmt.Sprintf("Content-Length: %d", size), body, true
	case 3, 4:
		trailer := mostly(r, "", "X-Sum: 1\r\n", "X-Sum: 1\r\nPostern-Login: x\r\n", "Content-Length: 3\r\n", "X-Bad : 1\r\n", " fold\r\n", "Set-Cookie: a=b\r\n", "X-Bad: a\x00b\r\n")
		field = "Transfer-Encoding: " + mostly(r, "chunked", "Chunked")
		if trailer != "" && r.IntN(2) == 0 {
			field += "\r\nTrailer: X-Sum"
		}
		return field, validChunks(r, body) + "0\r\n" + trailer + "\r\n", trailer == ""
	case 5:
		return "", body, false
	case 6:
		return of(r, "Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: 5, 5", "Content-Length: +5", "Content-Length: -1", "Content-Length: 0x5", "Content-Length: ", "Content-Length: 5 5",
			"Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, gzip", "Transfer-Encoding: gzip", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: ", "Content-Length: 9223372036854775808", "Content-Length: 05", "Content-Length: 5\t", "Transfer-Encoding : chunked"), of(r, "hello", "5\r\nhello\r\n0\r\n\r\n", ""), false
	default:
		return "Transfer-Encoding: chunked", chunk(r, body) + "\r\n", false
	}
}

// validChunks returns body in chunks without the last one.
func validChunks(r *rand.Rand, body string) string {
	var out strings.Builder
	for len(body) > 0 {
		n := min(len(body), 1+r.IntN(20000))
		fmt.Fprintf(&out, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	return out.String()
}
