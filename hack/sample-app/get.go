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

// get sends one request and prints the status line, the headers and the body of the response, like `curl -i`. It fails without a
// response. With -fail it also fails if the status is 400 or more, so it can be an exec probe. With -want it retries until the
// response has this status, at most for the time in -within.
func get(ctx context.Context, args []string, out io.Writer) error {
	q, err := parseRequest(args)
	if err != nil {
		return err
	}
	if q.within == 0 {
		return q.send(ctx, out)
	}
	ctx, cancel := context.WithTimeout(ctx, q.within)
	defer cancel()
	for {
		err := q.send(ctx, out)
		if err == nil {
			return nil
		}
		fmt.Fprintf(out, "retrying: %v\n", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", q.within, err)
		case <-time.After(q.pause):
		}
	}
}

// requestOptions are the parsed flags of get.
type requestOptions struct {
	url, method, body string
	headers           http.Header
	fail, http2       bool
	// want is the expected status; 0 for any.
	want int
	// timeout bounds one response, and within bounds all attempts together. pause is the time between two attempts.
	timeout, within, pause time.Duration
}

func parseRequest(args []string) (requestOptions, error) {
	q := requestOptions{headers: http.Header{}, pause: time.Second}
	flags := flag.NewFlagSet("get", flag.ContinueOnError)
	flags.StringVar(&q.method, "X", http.MethodGet, "method")
	flags.StringVar(&q.body, "d", "", "body to send")
	flags.BoolVar(&q.fail, "fail", false, "a status of 400 or more is a failure")
	flags.IntVar(&q.want, "want", 0, "any other status is a failure")
	flags.BoolVar(&q.http2, "http2", false, "speak HTTP/2 cleartext")
	flags.DurationVar(&q.timeout, "timeout", 10*time.Second, "longest time for the whole response")
	flags.DurationVar(&q.within, "within", 0, "retry failures for this long")
	flags.Var(headerFlags{q.headers}, "H", "header to send, 'Name: value'; may be given again")
	flags.SetOutput(os.Stderr)
	if err := flags.Parse(args); err != nil {
		return requestOptions{}, err
	}
	if flags.NArg() != 1 {
		return requestOptions{}, fmt.Errorf("want one URL after the flags, have %d arguments", flags.NArg())
	}
	q.url = flags.Arg(0)
	return q, nil
}

// send sends the request once.
func (q requestOptions) send(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, q.method, q.url, strings.NewReader(q.body))
	if err != nil {
		return fmt.Errorf("making request: %w", err)
	}
	request.Header = q.headers.Clone()
	if host := q.headers.Get("Host"); host != "" {
		request.Host = host
	}
	response, err := client(q.http2).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := printResponse(out, response); err != nil {
		return err
	}
	if q.fail && response.StatusCode >= http.StatusBadRequest || q.want != 0 && response.StatusCode != q.want {
		return fmt.Errorf("status %s", response.Status)
	}
	return nil
}

// client returns a client that follows no redirects and decompresses nothing, to show responses unchanged.
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
