package upstream

import (
	"encoding/binary"
	"io"
	"net"
)

const (
	// maxFrame is the largest frame of a request's body that is sent to an app, in bytes: the smallest maximum that an app may have
	// (RFC 9113 §6.5.2).
	maxFrame = 16 << 10
	// frameHeader is the length of a frame's header, and setting that of a setting, in bytes.
	frameHeader = 9
	setting     = 6
	// maxSettings bounds the first frame that is looked at, in bytes.
	maxSettings = 1 << 10

	settingsFrame    = 4
	maxFrameSettings = 5
)

// smallFrames is an HTTP/2 connection to the app that hides from the transport that the app takes larger frames than maxFrame. For each
// body of unknown length the transport allocates a buffer of the app's maximum, up to 512 KiB; Go's server says 1 MiB.
type smallFrames struct {
	net.Conn
	// Used only by the reader:
	seen  bool
	ahead []byte
}

// Read returns what the app sends, with a smaller maximum in its first frame, which is SETTINGS (RFC 9113 §3.4). An app that raises the
// maximum later is not contradicted.
func (c *smallFrames) Read(p []byte) (int, error) {
	if !c.seen {
		c.seen = true
		c.ahead = make([]byte, frameHeader, frameHeader+8*setting)
		n, err := io.ReadFull(c.Conn, c.ahead)
		if c.ahead = c.ahead[:n]; err == nil {
			err = c.readSettings()
		}
		if len(c.ahead) == 0 {
			return 0, err // a later Read returns any other error again
		}
	}
	if len(c.ahead) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.ahead)
	if c.ahead = c.ahead[n:]; len(c.ahead) == 0 {
		c.ahead = nil
	}
	return n, nil
}

// readSettings reads the payload of the first frame, if that is SETTINGS, and bounds the maximum in it.
func (c *smallFrames) readSettings() error {
	length := int(c.ahead[0])<<16 | int(c.ahead[1])<<8 | int(c.ahead[2])
	if c.ahead[3] != settingsFrame || length > maxSettings {
		return nil
	}
	payload := make([]byte, length)
	n, err := io.ReadFull(c.Conn, payload)
	payload = payload[:n]
	for at := 0; at+setting <= len(payload); at += setting {
		value := payload[at+2 : at+setting]
		if binary.BigEndian.Uint16(payload[at:]) == maxFrameSettings && binary.BigEndian.Uint32(value) > maxFrame {
			binary.BigEndian.PutUint32(value, maxFrame)
		}
	}
	c.ahead = append(c.ahead, payload...)
	return err
}
