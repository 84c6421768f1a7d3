package differential

import (
	"bufio"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/posterndev/postern/test/differential/stdproxy/framing"
)

var (
	statusLine = regexp.MustCompile(`^HTTP/1\.[01] +[1-9][0-9]{2}( [^\x00]*)?$`)
	fieldLine  = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\\x00-\\x08\\x0a-\\x1f\\x7f]*$")
	foldedLine = regexp.MustCompile(`^[ \t][^\x00-\x08\x0a-\x1f\x7f]*$`)
	badChunks  = regexp.MustCompile(`\n0[^\r\n]*\r\n(X-Bad : 1|X-Bad: a\x00b| fold)\r\n\r\n$|[0-9a-f][\t ]+;|;[^\r\n]*[\x00\n]|[0-9a-f]\n`)
)

// malformed says in a word why the app's reply to request number k is no response, by a simple reading of RFC 9112; empty if it is one.
func malformed(c *testCase, k int) string {
	rest := c.replies[k].raw
	for {
		head, after, ok := cutHead(rest)
		if !ok {
			return "incomplete"
		}
		status, why := judgeHead(head)
		if why != "" {
			return why
		}
		if status >= 200 {
			return ""
		}
		if status == http.StatusSwitchingProtocols {
			return "unwanted upgrade"
		}
		rest = after
	}
}

// cutHead returns the lines of the first head, and what follows it.
func cutHead(text string) (lines []string, rest string, ok bool) {
	for {
		line, after, found := strings.Cut(text, "\n")
		if !found {
			return lines, "", false
		}
		text = after
		if line = strings.TrimSuffix(line, "\r"); line == "" {
			return lines, text, len(lines) > 0
		}
		lines = append(lines, line)
	}
}

// judgeHead returns the status of a head, and why it is refused.
func judgeHead(lines []string) (status int, why string) {
	if !statusLine.MatchString(lines[0]) {
		return 0, "status line"
	}
	status, _ = strconv.Atoi(strings.Fields(lines[0])[1])
	var lengths, codings []string
	size := len(lines[0])
	for i, line := range lines[1:] {
		size += len(line) + 2
		if i > 0 && foldedLine.MatchString(line) {
			continue
		}
		if !fieldLine.MatchString(line) {
			return status, "field"
		}
		name, value, _ := strings.Cut(line, ":")
		switch value = strings.Trim(value, " \t"); strings.ToLower(name) {
		case "content-length":
			if _, err := strconv.ParseUint(value, 10, 63); err != nil || len(lengths) > 0 && !sameNumber(lengths[0], value) {
				return status, "length"
			}
			lengths = append(lengths, value)
		case "transfer-encoding":
			if codings = append(codings, value); len(codings) > 1 || !strings.EqualFold(value, "chunked") {
				return status, "coding"
			}
		}
	}
	switch {
	case size > 128<<10 || len(lines) > 1000:
		return status, "size"
	case len(codings) > 0 && (len(lengths) > 0 || strings.HasPrefix(lines[0], "HTTP/1.0")):
		return status, "framing"
	}
	return status, ""
}

func sameNumber(a, b string) bool { return strings.TrimLeft(a, "0") == strings.TrimLeft(b, "0") }

// lenient returns the status and the part of the body that net/http reads in the app's reply to request number k. The status is 0 if it reads no
// response.
func lenient(c *testCase, k int) (status int, body string) {
	method := http.MethodGet
	if messages := framing.Read([]byte(c.bytes)).Messages; k < len(messages) {
		method, _, _ = strings.Cut(string(messages[k]), " ")
	}
	raw := c.replies[k].raw
	if c.replies[k].early { // as stdproxy does, so that the connection is not used again
		raw = strings.Replace(raw, "\n", "\nConnection: close\r\n", 1)
	}
	reader := bufio.NewReader(strings.NewReader(raw))
	for {
		r, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			return 0, ""
		}
		if r.StatusCode >= 100 && r.StatusCode < 200 && r.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		b, _ := io.ReadAll(r.Body) // up to where it is malformed
		return r.StatusCode, string(b)
	}
}

func lenientStatus(c *testCase, k int) int {
	status, _ := lenient(c, k)
	return status
}
