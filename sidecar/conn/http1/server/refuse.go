package server

import (
	"net"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// refusalTime bounds writing a refusal. A client that does not read gets no refusal.
const refusalTime = time.Second

const (
	// lingerTime bounds how long a connection stays open after a refusal of this package, and lingerBytes how much is read meanwhile.
	// Closing with unread bytes resets the connection, and the client loses the response (RFC 9112 §9.6). net/http waits equally long.
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 64 << 10
)

// report counts the refusal, once for each connection.
func (c *conn) report(refusal *httperr.Error) {
	if c.reported.CompareAndSwap(false, true) && c.server.config.OnRefuse != nil {
		c.server.config.OnRefuse(c.net, refusal)
	}
}

// refusedBody records that the body of the current request is malformed. The read of the handler returns the error.
func (c *conn) refusedBody(refusal *httperr.Error) error {
	c.broken.Store(refusal)
	c.report(refusal)
	return &net.OpError{Op: "read", Net: "tcp", Source: c.net.LocalAddr(), Addr: c.net.RemoteAddr(), Err: refusal}
}

// refuseHead responds to the malformed head at the start of the buffer.
func (c *conn) refuseHead(refusal *httperr.Error) {
	c.report(refusal)
	c.writeRefusal(c.respond(c.buf[c.r:c.w], refusal))
}

// writeRefusal writes a complete response, the last of the connection.
func (c *conn) writeRefusal(response []byte) {
	c.lingers = true
	if c.net.SetWriteDeadline(time.Now().Add(refusalTime)) == nil {
		_, _ = c.net.Write(response) // on an error the client has disconnected
	}
}

// linger waits for the end of what the client sends, and discards it. A body that nobody wants may take longer than what follows a
// refusal.
func (c *conn) linger() {
	most, bytes := lingerTime, lingerBytes
	if c.unwanted {
		most, bytes = c.server.config.Times.Unread, maxRest
	}
	half, ok := c.net.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	end := time.Now().Add(most)
	if c.net.SetReadDeadline(end) != nil {
		return
	}
	var scrap [1 << 10]byte
	for read := 0; read < bytes; {
		n, err := c.net.Read(scrap[:])
		if err != nil {
			return
		}
		read += n
	}
	time.Sleep(min(time.Until(end), lingerTime))
}
