package redis

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// dialer opens connections.
type dialer struct {
	timeout time.Duration
	tls     *tls.Config
}

// dial connects to addr within the dialer's timeout.
func (d *dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	return d.connect(ctx, network, addr)
}

// dialSentinel connects to a sentinel and logs in if password is not nil. The password is read for each connection: the client
// library would keep the first one.
func (d *dialer) dialSentinel(ctx context.Context, addr string, password secret.Source) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := d.connect(ctx, "tcp", addr)
	if err != nil || password == nil {
		return conn, err
	}
	if err := login(ctx, conn, password); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("logging in to sentinel %s: %w", addr, err)
	}
	return conn, nil
}

func (d *dialer) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	plain := &net.Dialer{KeepAlive: 15 * time.Second}
	if d.tls == nil {
		return plain.DialContext(ctx, network, addr)
	}
	conn, err := (&tls.Dialer{NetDialer: plain, Config: d.tls}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return telling{conn}, nil
}

// login sends AUTH. The reply is one line, because no other command was sent.
func login(ctx context.Context, conn net.Conn, source secret.Source) error {
	password, err := source.Read(ctx)
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	b := append([]byte("*2\r\n$4\r\nAUTH\r\n$"), strconv.Itoa(len(password.Reveal()))...)
	b = append(append(append(b, "\r\n"...), password.Reveal()...), "\r\n"...)
	if _, err := conn.Write(b); err != nil {
		return err
	}
	line, err := bufio.NewReaderSize(conn, 512).ReadSlice('\n')
	if err != nil {
		return err
	}
	if string(line) != "+OK\r\n" {
		return errors.New("the password was refused")
	}
	return conn.SetDeadline(time.Time{})
}
