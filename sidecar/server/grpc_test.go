package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// echoCalls responds to every message with it and with the call's metadata, and ends with a trailer.
func echoCalls(_ any, s grpc.ServerStream) error {
	s.SetTrailer(metadata.Pairs("sum", "42"))
	md, _ := metadata.FromIncomingContext(s.Context())
	for {
		m := new(wrapperspb.StringValue)
		if err := s.RecvMsg(m); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.SendMsg(wrapperspb.String(m.Value + strings.Join(md.Get("x-call"), ",") + fmt.Sprintf("%q", md.Get("x-bin")))); err != nil {
			return err
		}
	}
}

// TestGRPCBesideRefusals: calls of a real client arrive with their metadata while others on its connection are refused, as errors of gRPC.
func TestGRPCBesideRefusals(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := grpc.NewServer()
	app.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Echo", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Echo", ServerStreams: true, ClientStreams: true, Handler: echoCalls}},
	}, struct{}{})
	go func() { _ = app.Serve(l) }()
	t.Cleanup(app.Stop)
	c := standaloneConfig(t, makeDocument(nil), "http://"+l.Addr().String())
	r := start(t, c.Inbound.(plain).address, c)
	client, err := grpc.NewClient("passthrough:///"+r.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for i := range 50 {
		if err := client.Invoke(ctx, "/refused%zz", wrapperspb.String("x"), new(wrapperspb.StringValue)); grpcstatus.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "bad-path") {
			t.Fatalf("call %d: %v", i, err)
		}
		call := fmt.Sprint(i, strings.Repeat("m", i*200))
		called := metadata.AppendToOutgoingContext(ctx, "x-call", call, "x-call", "same", "x-bin", "\x00\xff")
		s, err := client.NewStream(called, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Echo/Echo")
		if err != nil {
			t.Fatal(err)
		}
		got := new(wrapperspb.StringValue)
		if err := s.SendMsg(wrapperspb.String("one")); err != nil {
			t.Fatal(err)
		}
		if err := s.RecvMsg(got); err != nil || got.Value != "one"+call+`,same["\x00\xff"]` {
			t.Fatalf("call %d: %q, %v", i, got.Value, err)
		}
		_ = s.CloseSend()
		if err := s.RecvMsg(got); err != io.EOF || strings.Join(s.Trailer().Get("sum"), "") != "42" {
			t.Fatalf("call %d: %v, %v", i, err, s.Trailer())
		}
	}
}
