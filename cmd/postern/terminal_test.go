package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"

	"github.com/google/uuid"

	"github.com/posterndev/postern/cmd/postern/internal/scrape"
)

// hostile is text that terminals obey, and that JSON need not escape: CSI in one character, and characters that change the direction.
const hostile = "a\u009b2J\u202e\u2066\U000e0001b"

// obeyed returns what of a text a terminal would obey.
func obeyed(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
}

// TestTerminal: what clients, sidecars and those who may write to the trail choose commands no terminal, in any form of output.
func TestTerminal(t *testing.T) {
	response := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, response) }))
	defer server.Close()
	note := fmt.Sprintf("postern.dev/audit/shop/orders/%s\n1\n%s\n\n— %s %s\n", uuid.Must(uuid.NewV7()), base64.StdEncoding.EncodeToString(make([]byte, 32)), hostile, base64.StdEncoding.EncodeToString(make([]byte, 68)))
	checkpoint, err := json.Marshal(map[string]string{"checkpoint": note})
	if err != nil {
		t.Fatal(err)
	}
	key, _ := auditLog(t)
	for name, tt := range map[string]struct {
		stdin, response string
		args            []string
		want            string
	}{
		"sessions": {
			response: `{"sessions":[{"id":"` + hostile + `","browser":"` + hostile + `","address":"` + hostile + `"}]}`, args: []string{"sessions", "list", "--subject", "ada", "--server", server.URL}, want: `a\u009b2J`,
		},
		"sessions as JSON": {response: `{"sessions":[{"id":"` + hostile + `"}]}`, args: []string{"sessions", "list", "--subject", "ada", "--server", server.URL, "-o", "json"}, want: `a\u009b2J`},
		"an export": {
			response: `{"time":"2026-11-29T08:00:00Z","shared":true,` + "\n\r\t" + `"sessions":[{"browser":"` + hostile + `"}]}`,
			args:     []string{"subject", "export", "--subject", "ada", "--server", server.URL, "--skip-database"}, want: `a\u009b2J`,
		},
		"a checkpoint":         {stdin: string(checkpoint), args: []string{"audit", "verify", "-f", "-", "--key-file", key}, want: `a\u009b2J`},
		"a checkpoint as JSON": {stdin: string(checkpoint), args: []string{"audit", "verify", "-f", "-", "--key-file", key, "-o", "json"}, want: `a\u009b2J`},
	} {
		t.Run(name, func(t *testing.T) {
			response = tt.response
			out, stderr, err := run(t, tt.stdin, tt.args...)
			if !strings.Contains(out, tt.want) {
				t.Errorf("%q, %q, %v; want %q", out, stderr, err, tt.want)
			}
			if got := obeyed(out + stderr); got != "" {
				t.Errorf("a terminal obeys %q of %q", got, out)
			}
			if strings.HasPrefix(out, "{") && !json.Valid([]byte(out)) && !json.Valid([]byte(strings.SplitN(out, "\n", 2)[0])) {
				t.Errorf("not JSON: %q", out)
			}
		})
	}
}

func TestTerminalTop(t *testing.T) {
	var out bytes.Buffer
	view := scrape.View{Lists: &scrape.Lists{Accounts: []scrape.Counted{{Account: hostile}}}}
	if err := (&topReader{options: &topOptions{output: outputJSON}}).show(&out, view, false); err != nil {
		t.Fatal(err)
	}
	var back scrape.View
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Lists.Accounts[0].Account != hostile || obeyed(out.String()) != "" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestTerminalErrors: errors quote what a server says. Their line breaks stay.
func TestTerminalErrors(t *testing.T) {
	err := errors.Join(fmt.Errorf("the sidecar responded with 500: %s\r\x1b[2J", hostile), errors.New("second"))
	want := "postern: the sidecar responded with 500: a\\u009b2J\\u202e\\u2066\\U000e0001b\\r\\x1b[2J\nsecond\n"
	if got := errorLines(err); got != want {
		t.Errorf("%q; want %q", got, want)
	}
}
