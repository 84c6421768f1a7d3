package upstream

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/iotest"
)

// framesConn is a connection whose peer sends what the reader has.
type framesConn struct {
	net.Conn
	io.Reader
}

func (c framesConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// TestSmallFrames: only the maximum size of frames in the first SETTINGS is changed, and only to a smaller one.
func TestSmallFrames(t *testing.T) {
	settings := func(size byte) string {
		return "\x00\x00\x0c\x04\x00\x00\x00\x00\x00" + "\x00\x03\x00\x00\x00\xfa" + "\x00\x05\x00" + string(size) + "\x00\x00"
	}
	const small = "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00"
	ping := "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"
	tests := map[string]struct{ sent, want string }{
		"Go's server":       {settings(0x10) + ping + settings(0x10), settings(0)[:len(settings(0))-2] + "\x40\x00" + ping + settings(0x10)},
		"the smallest":      {small + ping, small + ping},
		"no settings":       {"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + ping, "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + ping},
		"another frame":     {ping + settings(0x10), ping + settings(0x10)},
		"a cut frame":       {settings(0x10)[:14], settings(0x10)[:14]},
		"a cut header":      {"\x00\x00\x0c", "\x00\x00\x0c"},
		"nothing":           {"", ""},
		"a setting that is": {"\x00\x00\x04\x04\x00\x00\x00\x00\x00\x00\x05\x00\x10", "\x00\x00\x04\x04\x00\x00\x00\x00\x00\x00\x05\x00\x10"},
	}
	for name, tt := range tests {
		for _, one := range []bool{false, true} {
			var from io.Reader = bytes.NewReader([]byte(tt.sent))
			if one {
				from = iotest.OneByteReader(from)
			}
			got, err := io.ReadAll(&smallFrames{Conn: framesConn{Reader: from}})
			if string(got) != tt.want || err != nil && err != io.ErrUnexpectedEOF {
				t.Errorf("%s: %q, %v; want %q", name, got, err, tt.want)
			}
		}
	}
}
