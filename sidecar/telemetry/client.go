package telemetry

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode"

	"google.golang.org/protobuf/encoding/protowire"
)

// signal is what is exported.
type signal struct {
	name string
	// path is that of HTTP, and method that of gRPC.
	path, method string
}

var (
	traces = signal{"traces", "/v1/traces", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"}
	logs   = signal{"logs", "/v1/logs", "/opentelemetry.proto.collector.logs.v1.LogsService/Export"}
)

// client calls a collector. It is safe for concurrent use.
type client struct {
	endpoint Endpoint
	base     string
	http     *http.Client
	retry    time.Duration
}

func (c *client) close() { c.http.CloseIdleConnections() }

// partial is what a collector has not accepted of a request that succeeded.
type partial struct {
	count int64
	text  string
}

// of returns how many of total were not accepted.
func (p partial) of(total int) int { return int(max(0, min(p.count, int64(total)))) }

// RefusedError says that the collector refuses a request, so that it is useless to repeat it.
type RefusedError struct{ reason string }

// Error returns the status that the collector responded with.
func (e *RefusedError) Error() string { return "the collector refuses the request: " + e.reason }

// export sends body until the collector accepts or refuses it, or ctx ends.
func (c *client) export(ctx context.Context, s signal, body []byte) (partial, error) {
	for pause := c.retry; ; pause = min(2*pause, maxRetry) {
		p, err := c.send(ctx, s, body)
		var refused *RefusedError
		if err == nil || errors.As(err, &refused) {
			return p, err
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2+1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return partial{}, err
		case <-timer.C:
		}
	}
}

// maxResponse bounds the body of a response, in bytes.
const maxResponse = 64 << 10

// send sends body once.
func (c *client) send(ctx context.Context, s signal, body []byte) (partial, error) {
	grpc := c.endpoint.Protocol == GRPC
	target, contentType := c.base+s.path, "application/x-protobuf"
	if grpc {
		target, contentType = c.base+s.method, "application/grpc"
		framed := make([]byte, 5, 5+len(body)) // not compressed, and the length
		binary.BigEndian.PutUint32(framed[1:], uint32(len(body)))
		body = append(framed, body...)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return partial{}, &RefusedError{"the address is not valid"}
	}
	if err := c.endpoint.headers(ctx, r.Header); err != nil {
		return partial{}, err
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("User-Agent", "postern-sidecar")
	if grpc {
		r.Header.Set("Te", "trailers")
	}
	res, err := c.http.Do(r)
	if err != nil {
		return partial{}, fmt.Errorf("calling the collector: %w", withoutURL(err))
	}
	defer res.Body.Close()
	message, err := io.ReadAll(io.LimitReader(res.Body, maxResponse))
	if err != nil {
		return partial{}, fmt.Errorf("reading the collector's response: %w", withoutURL(err))
	}
	if grpc {
		return judgeGRPC(res, message)
	}
	return judgeHTTP(res, message)
}

// judgeHTTP follows the OTLP specification: some statuses ask for a repetition.
func judgeHTTP(res *http.Response, message []byte) (partial, error) {
	switch {
	case res.StatusCode == http.StatusOK:
		return parsePartial(message), nil
	case res.StatusCode == http.StatusTooManyRequests, res.StatusCode >= 502 && res.StatusCode <= 504:
		return partial{}, fmt.Errorf("the collector responded with status %d", res.StatusCode)
	}
	return partial{}, &RefusedError{"status " + strconv.Itoa(res.StatusCode)}
}

// judgeGRPC follows the OTLP specification. The status is in the trailer, or in the header of a response without a body.
func judgeGRPC(res *http.Response, message []byte) (partial, error) {
	if res.StatusCode != http.StatusOK {
		return judgeHTTP(res, nil)
	}
	status := res.Trailer.Get("Grpc-Status")
	if status == "" {
		status = res.Header.Get("Grpc-Status")
	}
	code, err := strconv.Atoi(status)
	switch {
	case err != nil:
		return partial{}, errors.New("the collector's response has no gRPC status")
	case code == 0:
		if len(message) < 5 || message[0] != 0 {
			return partial{}, nil
		}
		return parsePartial(message[5:]), nil
	}
	switch code {
	case 1, 4, 8, 10, 11, 14, 15: // CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS
		return partial{}, fmt.Errorf("the collector responded with gRPC status %d", code)
	}
	return partial{}, &RefusedError{"gRPC status " + strconv.Itoa(code)}
}

// parsePartial reads an Export…ServiceResponse: partial_success = 1, with rejected_… = 1 and error_message = 2. What it cannot read is no
// rejection: the collector has accepted the request.
func parsePartial(message []byte) (p partial) {
	inner, ok := field(message, 1, protowire.BytesType)
	if !ok {
		return p
	}
	body, n := protowire.ConsumeBytes(inner)
	if n < 0 {
		return p
	}
	if v, ok := field(body, 1, protowire.VarintType); ok {
		count, _ := protowire.ConsumeVarint(v)
		p.count = int64(count)
	}
	if v, ok := field(body, 2, protowire.BytesType); ok {
		text, _ := protowire.ConsumeBytes(v)
		p.text = printable(text)
	}
	return p
}

// field returns what follows the tag of a field.
func field(b []byte, number protowire.Number, kind protowire.Type) ([]byte, bool) {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, false
		}
		if b = b[n:]; num == number && typ == kind {
			return b, true
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return nil, false
		}
		b = b[n:]
	}
	return nil, false
}

// printable bounds a text of the collector for the log.
func printable(text []byte) string {
	const most = 256
	return string(bytes.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text[:min(len(text), most)]))
}

// withoutURL returns the cause of a *url.Error.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
