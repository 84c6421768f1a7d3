package soak

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// call makes a call with one message.
func (c *client) call() error { return c.echo(1) }

// stream makes a call with several messages.
func (c *client) stream() error { return c.echo(2 + c.random.IntN(20)) }

// echo sends messages, one after the other, and reads each back, and then the trailer.
func (c *client) echo(messages int) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.issuer.tokens[c.random.IntN(people)])
	s, err := c.calls[c.random.IntN(len(c.calls))].NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Echo/Echo")
	if err != nil {
		return callError(err)
	}
	for range messages {
		want := strings.Repeat("m", c.random.IntN(10_000))
		if err := s.SendMsg(wrapperspb.String(want)); err != nil && err != io.EOF {
			return callError(err)
		}
		got := new(wrapperspb.StringValue)
		if err := s.RecvMsg(got); err != nil {
			return callError(err)
		}
		if err := check(got.Value, want, nil); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return callError(err)
	}
	if err := s.RecvMsg(new(wrapperspb.StringValue)); err != io.EOF {
		return callError(fmt.Errorf("the end of the call is: %w", err))
	}
	return check(strings.Join(s.Trailer().Get("received"), ","), fmt.Sprint(messages), nil)
}

// callError says which faults end a call with err. A call that has begun is cut when the app is.
func callError(err error) error {
	if with := excuse(err, err.Error(), false); with != err {
		return with
	}
	return of(err, appAway, appCloses)
}

// shortSocket opens a WebSocket, exchanges some messages, and closes it.
func (c *client) shortSocket() error {
	conn, err := c.openSocket()
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	for range 1 + c.random.IntN(5) {
		if err := c.message(conn, c.random.IntN(100_000)); err != nil {
			return err
		}
	}
	return of(conn.Close(websocket.StatusNormalClosure, ""), appAway)
}

// longSocket exchanges one message on a WebSocket that stays open, through reloads, rotations and outages of Redis.
func (c *client) longSocket() (err error) {
	if c.socket == nil {
		if c.socket, err = c.openSocket(); err != nil {
			return err
		}
	}
	if err = c.message(c.socket, c.random.IntN(1000)); err != nil {
		_ = c.socket.CloseNow()
		c.socket = nil
	}
	return err
}

func (c *client) openSocket() (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	scheme, by := "ws", c.plain
	if c.random.IntN(2) == 0 {
		scheme, by = "wss", c.secure
	}
	conn, resp, err := websocket.Dial(ctx, scheme+"://"+c.sidecar.address+"/open/socket", &websocket.DialOptions{
		HTTPClient: by, HTTPHeader: http.Header{"Origin": {"https://" + c.sidecar.address}}, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil && (resp == nil || resp.StatusCode == http.StatusBadGateway) {
		return nil, of(err, appAway)
	}
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(maxBody)
	return conn, nil
}

// message sends a message and reads it back.
func (c *client) message(conn *websocket.Conn, size int) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	want := pattern(size)
	if err := conn.Write(ctx, websocket.MessageBinary, want); err != nil {
		return of(err, appAway)
	}
	_, got, err := conn.Read(ctx)
	if err != nil {
		return of(err, appAway)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes came back as %d others", len(want), len(got))
	}
	return nil
}
