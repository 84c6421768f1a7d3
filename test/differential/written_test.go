package differential

import (
	"fmt"
	"strings"
)

const (
	get       = "GET /w HTTP/1.1\r\nHost: a\r\n\r\n"
	handshake = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	accepted  = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)

// written are the cases that are written by hand: split writes, pipelining, expectations, bodies that the app does not read, upgrades, limits.
func written() []testCase {
	cases := append(splits(), pipelines()...)
	post := func(body string) string {
		return fmt.Sprintf("POST /w HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	expect := "POST /w HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"
	large := strings.Repeat("l", 200<<10)
	for name, c := range map[string]testCase{
		"expected, and the app continues":         {bytes: expect + get, replies: []reply{{interim: "HTTP/1.1 100 Continue\r\n\r\n"}}},
		"expected, and the app says nothing":      {bytes: expect + get},
		"expected, and refused by the policy":     {bytes: strings.Replace(expect, "/w", "/denied/x", 1) + get},
		"a body that the policy refuses":          {bytes: strings.Replace(post("hello"), "/w", "/denied/x", 1) + get},
		"a large body that the policy refuses":    {bytes: strings.Replace(post(large), "/w", "/denied/x", 1) + get},
		"bodies and none in turn":                 {bytes: post("hello") + get + post(large) + get + post("") + get},
		"bodies that the app does not read":       {bytes: post("hello") + get, sequential: true, replies: []reply{{unread: true, then: closed}}},
		"an early response":                       {bytes: post("hello") + get, sequential: true, replies: []reply{{early: true}}},
		"a GET with a body":                       {bytes: "GET /w HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + get},
		"HTTP/1.0":                                {bytes: "GET /w HTTP/1.0\r\n\r\n"},
		"HTTP/1.0, kept":                          {bytes: "GET /w HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" + get},
		"HTTP/1.0 and chunks":                     {bytes: "GET /w HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", replies: []reply{{raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"}}},
		"HTTP/1.0 and early hints":                {bytes: "GET /w HTTP/1.0\r\nHost: a\r\n\r\n", replies: []reply{{raw: "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + plainReply}}},
		"closed by the client":                    {bytes: "GET /w HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + get},
		"a head of 60 KiB":                        {bytes: "GET /w HTTP/1.1\r\nHost: a\r\nX-Large: " + strings.Repeat("a", 60<<10) + "\r\n\r\n" + get},
		"a head of 65 KiB":                        {bytes: "GET /w HTTP/1.1\r\nHost: a\r\nX-Large: " + strings.Repeat("a", 65<<10) + "\r\n\r\n" + get},
		"127 fields":                              {bytes: "GET /w HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X-A: 1\r\n", 127) + "\r\n"},
		"128 fields":                              {bytes: "GET /w HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X-A: 1\r\n", 128) + "\r\n"},
		"a trailer that is announced":             {bytes: "POST /w HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n" + get},
		"a trailer that is not announced":         {bytes: "POST /w HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n" + get},
		"a trailer that stands for an identity":   {bytes: "POST /w HTTP/1.1\r\nHost: a\r\nTrailer: X-Forwarded-For, Authorization, X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Forwarded-For: 1.1.1.1\r\nAuthorization: x\r\nX-Sum: 2\r\n\r\n" + get},
		"a trailer of the app":                    {bytes: "GET /w HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n", replies: []reply{{raw: "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"}}},
		"a large response":                        {bytes: get + get, replies: []reply{{raw: fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(large), large)}}},
		"a response until the end":                {bytes: get + get, sequential: true, replies: []reply{{raw: "HTTP/1.1 200 OK\r\n\r\nuntil the end", then: closed}}},
		"a response that is reset":                {bytes: get, sequential: true, replies: []reply{{raw: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", then: closed}}},
		"no response":                             {bytes: get + get, sequential: true, replies: []reply{{raw: "H", then: closed}}},
		"a head of 127 KiB":                       {bytes: get, replies: []reply{{raw: "HTTP/1.1 200 OK\r\nX-Large: " + strings.Repeat("a", 126<<10) + "\r\nContent-Length: 0\r\n\r\n"}}},
		"a head of 140 KiB":                       {bytes: get, replies: []reply{{raw: "HTTP/1.1 200 OK\r\nX-Large: " + strings.Repeat("a", 140<<10) + "\r\nContent-Length: 0\r\n\r\n", then: closed}}},
		"a second response":                       {bytes: get + get, sequential: true, replies: []reply{{raw: plainReply + "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"}}},
		"garbage after a response":                {bytes: get + get, sequential: true, replies: []reply{{raw: plainReply + "garbage"}}},
		"an upgrade that is accepted":             {bytes: handshake, replies: []reply{{raw: accepted, then: closed}}},
		"an upgrade with data of the app":         {bytes: handshake, replies: []reply{{raw: accepted + "\x81\x02hi", then: closed}}},
		"an upgrade that is refused":              {bytes: handshake + get, replies: []reply{{raw: "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"}}},
		"an upgrade that nobody asked for":        {bytes: get, replies: []reply{{raw: accepted, then: closed}}},
		"an upgrade to another protocol":          {bytes: handshake, replies: []reply{{raw: strings.Replace(accepted, "websocket", "h2c", 1), then: closed}}},
		"an upgrade of HTTP/2":                    {bytes: "GET /w HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n" + get},
		"an upgrade with a body":                  {bytes: strings.Replace(handshake, "Host: a\r\n", "Host: a\r\nContent-Length: 5\r\n", 1) + "hello"},
		"options for the server":                  {bytes: "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" + get},
		"204 with a length":                       {bytes: get + get, sequential: true, replies: []reply{{raw: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"}}},
		"304 with a length":                       {bytes: get + get, sequential: true, replies: []reply{{raw: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n"}}},
		"HEAD with a length":                      {bytes: strings.Replace(get, "GET", "HEAD", 1) + get, sequential: true, replies: []reply{{raw: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"}}},
		"HEAD with chunks":                        {bytes: strings.Replace(get, "GET", "HEAD", 1) + get, sequential: true, replies: []reply{{raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"}}},
		"HEAD without a length":                   {bytes: strings.Replace(get, "GET", "HEAD", 1) + get, sequential: true, replies: []reply{{raw: "HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n"}}},
		"half of a head":                          {bytes: get + get[:20]},
		"half of a body":                          {bytes: get + "POST /w HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello"},
		"half of a chunk":                         {bytes: get + "POST /w HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello"},
		"a broken chunk":                          {bytes: get + "POST /w HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n" + get},
		"a broken chunk after a large one":        {bytes: "POST /w HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n" + strings.Repeat("c", 0x10000) + "\r\nz\r\n"},
		"a response that is not HTTP":             {bytes: get, replies: []reply{{raw: "SSH-2.0-OpenSSH_9.6\r\n", then: closed}}},
		"a response before it is complete, large": {bytes: post(large) + get, sequential: true, replies: []reply{{early: true}}},
	} {
		c.name = name
		cases = append(cases, c)
		if !c.sequential {
			c.name, c.sequential = name+", one request after the other", true
			cases = append(cases, c)
		}
	}
	return cases
}

// splits returns a few messages, split at every position.
func splits() (cases []testCase) {
	for name, text := range map[string]string{
		"GET":    "GET /a?b=c HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n\r\n" + get,
		"length": "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + get,
		"chunks": "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n" + get,
		"broken": "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost : a\r\n\r\n",
		"chunk":  "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
	} {
		for at := 1; at < len(text); at++ {
			cases = append(cases, testCase{name: fmt.Sprintf("%s split at %d", name, at), bytes: text, splits: []int{at}})
		}
		all := make([]int, 0, len(text))
		for at := 1; at < len(text); at++ {
			all = append(all, at)
		}
		cases = append(cases, testCase{name: name + " in single bytes", bytes: text, splits: all})
	}
	return cases
}

// pipelines returns many requests on one connection.
func pipelines() (cases []testCase) {
	var b strings.Builder
	var replies []reply
	for i := range 50 {
		switch i % 5 {
		case 0:
			fmt.Fprintf(&b, "GET /p/%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
		case 1:
			fmt.Fprintf(&b, "POST /p/%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", i, 100*i, strings.Repeat("p", 100*i))
		case 2:
			fmt.Fprintf(&b, "PUT /p/%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", i)
		case 3:
			fmt.Fprintf(&b, "HEAD /p/%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
		case 4:
			fmt.Fprintf(&b, "POST /denied/%d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", i)
		}
		replies = append(replies, reply{raw: fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Number: %d\r\n\r\n%05d", i, i)})
		if i%5 == 3 {
			replies[i].raw = strings.TrimSuffix(replies[i].raw, fmt.Sprintf("%05d", i))
		}
	}
	// With the second document the requests to /denied reach no app; the replies are the same for all others.
	for i := range replies {
		replies[i].raw = strings.ReplaceAll(replies[i].raw, fmt.Sprintf("X-Number: %d\r\n", i), "")
	}
	return []testCase{
		{name: "50 requests at once", bytes: b.String(), replies: nil},
		{name: "50 requests one after the other", bytes: b.String(), replies: nil, sequential: true},
		{name: "50 requests in parts", bytes: b.String(), splits: []int{1000, 1001, 5000, 9000}},
	}
}
