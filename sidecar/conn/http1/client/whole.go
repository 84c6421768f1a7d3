package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// sendWhole sends the head and a body that has arrived in one write.
func (x *call) sendWhole(head []byte) error {
	length := int(x.in.Length)
	b := slices.Grow(head, length+1) // the byte more shows that the body is longer
	body := b[len(head) : len(head)+length+1]
	if err := readWhole(x.in.Body, body); err != nil {
		x.spoiled = true
		return err
	}
	written, err := x.conn.net.Write(b[:len(head)+length])
	switch x.wrote = written > 0; {
	case err == nil:
	case x.wrote && isGone(err):
		x.early = true
	default:
		if !x.wrote {
			x.in.Body = bytes.NewReader(bytes.Clone(body[:length])) // for another connection
		}
		return fmt.Errorf("sending the request: %w", err)
	}
	x.requestSent()
	return nil
}

// readWhole reads a body that is one byte shorter than b.
func readWhole(body io.Reader, b []byte) (err error) {
	n, length := 0, len(b)-1
	for n < len(b) && err == nil {
		var read int
		read, err = body.Read(b[n:])
		n += read
	}
	switch {
	case n > length:
		return errLonger
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("reading the request's body: %w", err)
	case n < length:
		return missing(int64(length - n))
	}
	return nil
}
