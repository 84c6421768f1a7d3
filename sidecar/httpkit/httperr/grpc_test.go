package httperr

import (
	"bytes"
	"cmp"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// TestGRPC: a real client of gRPC gets the status, the message and how long to wait.
func TestGRPC(t *testing.T) {
	tests := map[string]struct {
		err       *Error
		wantCode  codes.Code
		wantRetry []byte // a google.rpc.RetryInfo; nil for none
	}{
		"no credentials":   {&Error{Status: 401, Code: "no-credentials", Detail: "A token, 100% good – please."}, codes.Unauthenticated, nil},
		"denied":           {&Error{Status: 403, Code: "access-denied", Detail: "Closed."}, codes.PermissionDenied, nil},
		"limited":          {(&Error{Status: 429, Code: "rate-limited", Detail: "Wait."}).With("Retry-After", "300"), codes.ResourceExhausted, []byte{0x0a, 3, 0x08, 0xac, 2}},
		"unavailable":      {(&Error{Status: 503, Code: "keys-unavailable", Detail: "Try again."}).With("Retry-After", "1"), codes.Unavailable, []byte{0x0a, 2, 0x08, 1}},
		"unreachable":      {&Error{Status: 502, Code: "app-unreachable", Detail: "Gone."}, codes.Unavailable, nil},
		"late":             {&Error{Status: 504, Code: "app-timeout", Detail: "Late."}, codes.DeadlineExceeded, nil},
		"malformed":        {&Error{Status: 400, Code: "bad-path", Detail: "Bad."}, codes.InvalidArgument, nil},
		"too large":        {&Error{Status: 413, Code: "body-too-large", Detail: "Large."}, codes.ResourceExhausted, nil},
		"a defect":         {&Error{Status: 500, Code: "internal", Detail: "Defect."}, codes.Internal, nil},
		"not served":       {&Error{Status: 405, Code: "method-not-allowed", Detail: "No."}, codes.Unimplemented, nil},
		"too many already": {&Error{Status: 409, Code: "session-limit", Detail: "Full."}, codes.Aborted, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { Write(w, r, tt.err) }))
			s.Config.Protocols = new(http.Protocols)
			s.Config.Protocols.SetUnencryptedHTTP2(true)
			s.Start()
			defer s.Close()
			conn, err := grpc.NewClient("passthrough:"+s.Listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			got := status.Convert(conn.Invoke(t.Context(), "/a.B/C", &emptypb.Empty{}, &emptypb.Empty{}))
			if got.Code() != tt.wantCode || got.Message() != string(tt.err.Code)+": "+tt.err.Detail {
				t.Errorf("%v", got)
			}
			details := got.Proto().GetDetails()
			if (len(details) == 1) != (tt.wantRetry != nil) {
				t.Fatalf("details %v", details)
			}
			if tt.wantRetry != nil && (!strings.HasSuffix(details[0].GetTypeUrl(), "/google.rpc.RetryInfo") || !bytes.Equal(details[0].GetValue(), tt.wantRetry)) {
				t.Errorf("details %v", details)
			}
		})
	}
}

// TestWhoGetsAGRPCStatus: only calls of gRPC and of gRPC-Web. A refusal of any other request has its HTTP status: a cache would keep the
// empty 200 of a GET.
func TestWhoGetsAGRPCStatus(t *testing.T) {
	tests := map[string]struct {
		major      int
		sent, want string
		method     string // POST if empty
	}{
		"gRPC":              {2, "application/grpc", "application/grpc", ""},
		"gRPC with a codec": {2, "Application/gRPC+proto; a=b", "application/grpc", ""},
		"gRPC in HTTP/1.1":  {1, "application/grpc", "application/problem+json", ""},
		"gRPC-Web":          {1, "application/grpc-web+proto", "application/grpc-web", ""},
		"gRPC-Web as text":  {1, "application/grpc-web-text", "application/grpc-web-text", ""},
		"a GET of gRPC-Web": {1, "application/grpc-web", "application/problem+json", "GET"},
		"a GET of gRPC":     {2, "application/grpc", "application/problem+json", "GET"},
		"another type":      {2, "application/grpcx", "application/problem+json", ""},
		"no type":           {2, "", "application/problem+json", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, w := httptest.NewRequest(cmp.Or(tt.method, "POST"), "/", nil), httptest.NewRecorder()
			r.ProtoMajor = tt.major
			r.Header.Set("Content-Type", tt.sent)
			Write(w, r, &Error{Status: 403, Code: "access-denied", Detail: "Closed."})
			isStatus := tt.want != "application/problem+json"
			if got := w.Header().Get("Content-Type"); got != tt.want || (w.Header().Get("Grpc-Status") == "7") != isStatus || (w.Body.Len() == 0) != isStatus {
				t.Errorf("%s, %v", got, w.Header())
			}
		})
	}
}
