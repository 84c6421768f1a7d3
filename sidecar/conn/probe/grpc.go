package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const (
	healthMethod = "/grpc.health.v1.Health/Check"
	// serving is ServingStatus SERVING of grpc.health.v1.
	serving = 1
	// frameHeader is a message's prefix: one byte that says whether it is compressed, four of length.
	frameHeader = 5
)

// health calls grpc.health.v1.Health/Check. Its two messages have one field each, so they are written by hand: the gRPC
// library would add some 6 MB to a binary that runs in every pod.
func (c *caller) health(ctx context.Context, g *GRPC) error {
	u := &url.URL{Scheme: "http", Host: c.target(g.Port), Path: healthMethod}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(healthRequest(g.Service)))
	if err != nil {
		return fmt.Errorf("calling the app by gRPC: %w", err)
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	r.Header.Set("User-Agent", probeAgent)
	res, err := c.grpc.Do(r)
	if err != nil {
		return fmt.Errorf("calling the app by gRPC: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/grpc") {
		return fmt.Errorf("calling the app by gRPC: HTTP status %d is not a gRPC response", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return fmt.Errorf("reading the app's response: %w", err)
	}
	if len(body) > maxBody {
		return fmt.Errorf("reading the app's response: it is longer than %d bytes", maxBody)
	}
	// The trailer has the status; a response without messages may have it in the header (Trailers-Only).
	status := res.Trailer.Get("Grpc-Status")
	if status == "" && len(body) == 0 {
		status = res.Header.Get("Grpc-Status")
	}
	if status != "0" {
		return fmt.Errorf("calling the app by gRPC: grpc-status %.10q", status)
	}
	got, err := parseHealthResponse(body)
	if err == nil && got != serving {
		err = fmt.Errorf("calling the app by gRPC: serving status %d", got)
	}
	return err
}

// healthRequest is a framed HealthCheckRequest{string service = 1}.
func healthRequest(service string) []byte {
	var message []byte
	if service != "" {
		message = append(message, 1<<3|2)
		message = binary.AppendUvarint(message, uint64(len(service)))
		message = append(message, service...)
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return append(frame, message...)
}

// parseHealthResponse reads one framed HealthCheckResponse{ServingStatus status = 1}, skipping fields that it does not know.
func parseHealthResponse(b []byte) (status uint64, err error) {
	if len(b) < frameHeader || b[0] != 0 || uint64(binary.BigEndian.Uint32(b[1:])) != uint64(len(b)-frameHeader) {
		return 0, errors.New("reading health response: not one uncompressed message")
	}
	for b = b[frameHeader:]; len(b) > 0; {
		tag, n := binary.Uvarint(b)
		if n <= 0 || tag>>3 == 0 {
			return 0, errors.New("reading health response: bad field")
		}
		value, size, err := field(b[n:], tag&7)
		if err != nil {
			return 0, err
		}
		if tag == 1<<3 {
			status = value
		}
		b = b[n+size:]
	}
	return status, nil
}

// field returns a varint's value, and the size of a field of any kind.
func field(b []byte, kind uint64) (value uint64, size int, err error) {
	switch kind {
	case 0:
		value, size = binary.Uvarint(b)
	case 1:
		size = 8
	case 2:
		length, n := binary.Uvarint(b)
		if n > 0 && length <= uint64(len(b)-n) {
			size = n + int(length)
		}
	case 5:
		size = 4
	}
	if size <= 0 || size > len(b) {
		return 0, 0, errors.New("reading health response: bad field")
	}
	return value, size, nil
}
