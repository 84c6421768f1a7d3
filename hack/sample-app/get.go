package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strings"
	"time"
)

// headerFlags collects -H flags, written "Name: value".
type headerFlags struct{ http.Header }

func (h headerFlags) String() string { return "" }

func (h headerFlags) Set(text string) error {
	name, value, ok := strings.Cut(text, ":")
	if !ok || strings.TrimSpace(name) == "" {
		return fmt.Errorf("want 'Name: value'")
	}
	h.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	return nil
}

// get sends one request and prints the status line, the headers and the body of the answer, as `curl -i` does in
// images that have curl. It fails where no answer comes, and with -fail where its status is 400 or more, which makes
// it an exec probe.
func get(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("get", flag.ContinueOnError)
	headers := headerFlags{http.Header{}}
	method := flags.String("X", http.MethodGet, "method")
	body := flags.String("d", "", "body to send")
	fail := flags.Bool("fail", false, "a status of 400 or more is a failure")
	http2 := flags.Bool("http2", false, "speak HTTP/2 cleartext")
	timeout := flags.Duration("timeout", 10*time.Second, "longest time for the whole answer")
	flags.Var(headers, "H", "header to send, 'Name: value'; may be given again")
	flags.SetOutput(os.Stderr)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return fmt.Errorf("want one URL after the flags, have %d arguments", flags.NArg())
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, *method, flags.Arg(0), strings.NewReader(*body))
	if err != nil {
		return fmt.Errorf("making request: %w", err)
	}
	request.Header = headers.Header
	if host := headers.Get("Host"); host != "" {
		request.Host = host
	}
	response, err := client(*http2).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := printResponse(out, response); err != nil {
		return err
	}
	if *fail && response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("status %s", response.Status)
	}
	return nil
}

// client returns a client that shows answers as they come: no redirect is followed, nothing is decompressed.
func client(http2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Client{
		Transport:     &http.Transport{DisableCompression: true, Protocols: protocols},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func printResponse(out io.Writer, response *http.Response) error {
	fmt.Fprintf(out, "%s %s\n", response.Proto, response.Status)
	printHeaders(out, response.Header)
	fmt.Fprintln(out)
	if _, err := io.Copy(out, response.Body); err != nil {
		return fmt.Errorf("reading body: %w", err)
	}
	printHeaders(out, response.Trailer)
	return nil
}

func printHeaders(out io.Writer, headers http.Header) {
	names := make([]string, 0, len(headers))
	for name := range headers {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, value := range headers[name] {
			fmt.Fprintf(out, "%s: %s\n", name, value)
		}
	}
}
