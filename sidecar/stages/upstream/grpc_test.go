package upstream

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// grpcApp has the health service and an echo stream.
func grpcApp(t *testing.T) (addr string, h *health.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	h = health.NewServer()
	healthpb.RegisterHealthServer(s, h)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Echo", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Echo", ServerStreams: true, ClientStreams: true, Handler: echoStream}},
	}, struct{}{})
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return l.Addr().String(), h
}

func echoStream(_ any, s grpc.ServerStream) error {
	s.SetTrailer(metadata.Pairs("sum", "42"))
	for {
		m := new(wrapperspb.StringValue)
		if err := s.RecvMsg(m); err == io.EOF {
			return status.Error(codes.ResourceExhausted, "enough")
		} else if err != nil {
			return err
		}
		if err := s.SendMsg(m); err != nil {
			return err
		}
	}
}

func dialGRPC(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestGRPCUnary(t *testing.T) {
	addr, h := grpcApp(t)
	h.SetServingStatus("shop", healthpb.HealthCheckResponse_NOT_SERVING)
	c := healthpb.NewHealthClient(dialGRPC(t, open(t, addr, nil).addr))
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	tests := map[string]struct {
		service    string
		wantStatus healthpb.HealthCheckResponse_ServingStatus
		wantCode   codes.Code
	}{
		"serving":                 {wantStatus: healthpb.HealthCheckResponse_SERVING},
		"not serving":             {service: "shop", wantStatus: healthpb.HealthCheckResponse_NOT_SERVING},
		"status without any body": {service: "nobody", wantCode: codes.NotFound},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			res, err := c.Check(ctx, &healthpb.HealthCheckRequest{Service: tt.service})
			if status.Code(err) != tt.wantCode || res.GetStatus() != tt.wantStatus {
				t.Errorf("%v, %v", res, err)
			}
		})
	}
}

// TestGRPCBidirectionalStream: messages alternate in both directions on one stream, and the status arrives in the trailer.
func TestGRPCBidirectionalStream(t *testing.T) {
	addr, _ := grpcApp(t)
	c := dialGRPC(t, open(t, addr, nil).addr)
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Echo/Echo")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two", "three"} {
		got := new(wrapperspb.StringValue)
		if err := s.SendMsg(wrapperspb.String(text)); err != nil {
			t.Fatal(err)
		}
		if err := s.RecvMsg(got); err != nil || got.Value != text {
			t.Fatalf("echo %q, %v", got.Value, err)
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(new(wrapperspb.StringValue)); status.Code(err) != codes.ResourceExhausted || status.Convert(err).Message() != "enough" {
		t.Errorf("end of stream: %v", err)
	}
	if got := s.Trailer().Get("sum"); len(got) != 1 || got[0] != "42" {
		t.Errorf("trailer %v", s.Trailer())
	}
}

// TestGRPCCancelReachesTheApp: a canceled call ends at the app as well.
func TestGRPCCancelReachesTheApp(t *testing.T) {
	arrived, left := make(chan struct{}), make(chan struct{})
	d := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(left)
	})
	ctx, cancel := context.WithCancel(context.Background())
	s, err := dialGRPC(t, d.addr).NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Echo/Echo")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendMsg(wrapperspb.String("one")); err != nil {
		t.Fatal(err)
	}
	wait(t, arrived, "the call")
	cancel()
	wait(t, left, "the app to be told")
}

func TestGRPCAppDown(t *testing.T) {
	c := healthpb.NewHealthClient(dialGRPC(t, open(t, closedPort, nil).addr))
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	if _, err := c.Check(ctx, &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("error %v, want Unavailable", err)
	}
}
