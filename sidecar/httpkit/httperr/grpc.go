package httperr

import (
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strconv"
	"strings"
)

// grpcStatus is a status code of gRPC.
type grpcStatus int

// The codes that refusals map to, https://grpc.io/docs/guides/status-codes/.
const (
	grpcCancelled         grpcStatus = 1
	grpcUnknown           grpcStatus = 2
	grpcInvalidArgument   grpcStatus = 3
	grpcDeadlineExceeded  grpcStatus = 4
	grpcPermissionDenied  grpcStatus = 7
	grpcResourceExhausted grpcStatus = 8
	grpcAborted           grpcStatus = 10
	grpcUnimplemented     grpcStatus = 12
	grpcInternal          grpcStatus = 13
	grpcUnavailable       grpcStatus = 14
	grpcUnauthenticated   grpcStatus = 16
)

// grpcStatusOf returns the code for an HTTP status. It is more precise than what clients derive from the HTTP status themselves.
func grpcStatusOf(status int) grpcStatus {
	switch status {
	case http.StatusUnauthorized:
		return grpcUnauthenticated
	case http.StatusForbidden:
		return grpcPermissionDenied
	case http.StatusTooManyRequests, http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge:
		return grpcResourceExhausted
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return grpcUnimplemented
	case http.StatusConflict:
		return grpcAborted
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return grpcDeadlineExceeded
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return grpcUnavailable
	case http.StatusInternalServerError:
		return grpcInternal
	case 499: // the client disconnected
		return grpcCancelled
	}
	if status >= 400 && status < 500 {
		return grpcInvalidArgument
	}
	return grpcUnknown
}

// grpcType returns the Content-Type of the response if r is a call of gRPC, or of gRPC-Web, and otherwise "". A call is a
// POST. Any other method can have this Content-Type too, and caches would keep the empty response 200 to a GET.
func grpcType(r *http.Request) string {
	if r.Method != http.MethodPost {
		return ""
	}
	t, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	t = strings.ToLower(strings.Trim(t, " \t"))
	base, _, _ := strings.Cut(t, "+")
	switch {
	case base == "application/grpc" && r.ProtoMajor == 2:
		return "application/grpc"
	case base == "application/grpc-web":
		return "application/grpc-web"
	case base == "application/grpc-web-text":
		return "application/grpc-web-text"
	}
	return ""
}

// writeGRPC writes e as a response that has only trailers (gRPC over HTTP/2, "Trailers-Only"), which is a header and no body.
func writeGRPC(w http.ResponseWriter, contentType string, e *Error) {
	h, code := w.Header(), grpcStatusOf(e.Status)
	h.Set("Content-Type", contentType)
	h.Set("Grpc-Status", strconv.Itoa(int(code)))
	message := string(e.Code) + ": " + e.Detail
	h.Set("Grpc-Message", encodeMessage(message))
	if seconds, err := strconv.ParseUint(e.Header.Get("Retry-After"), 10, 31); err == nil {
		h.Set("Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(retryStatus(code, message, seconds)))
	}
	w.WriteHeader(http.StatusOK)
}

// encodeMessage percent-encodes what a Grpc-Message cannot contain.
func encodeMessage(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

// retryStatus returns a google.rpc.Status with a google.rpc.RetryInfo, in Protocol Buffers.
func retryStatus(code grpcStatus, message string, seconds uint64) []byte {
	duration := number(nil, 1, seconds)
	info := text(nil, 1, duration)
	detail := text(text(nil, 1, []byte("type.googleapis.com/google.rpc.RetryInfo")), 2, info)
	return text(text(number(nil, 1, uint64(code)), 2, []byte(message)), 3, detail)
}

// number appends a varint field, and text a field of bytes.
func number(b []byte, field byte, value uint64) []byte {
	return binary.AppendUvarint(append(b, field<<3), value)
}

func text(b []byte, field byte, value []byte) []byte {
	return append(binary.AppendUvarint(append(b, field<<3|2), uint64(len(value))), value...)
}
