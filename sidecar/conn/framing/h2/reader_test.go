package h2

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

const listBytes = 64<<10 + 320

// client writes what a client sends.
type client struct {
	sent   bytes.Buffer
	framer *http2.Framer
	block  bytes.Buffer
	fields *hpack.Encoder
}

func newClient() *client {
	c := &client{}
	c.sent.WriteString(Preface)
	c.framer = http2.NewFramer(&c.sent, nil)
	c.framer.AllowIllegalWrites = true
	c.fields = hpack.NewEncoder(&c.block)
	_ = c.framer.WriteSettings()
	return c
}

// encode returns a block of fields: pairs of name and value.
func (c *client) encode(fields ...string) []byte {
	c.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = c.fields.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(c.block.Bytes())
}

func (c *client) headers(stream uint32, fields ...string) *client {
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndStream: true, EndHeaders: true, BlockFragment: c.encode(fields...)})
	return c
}

var good = []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/a?b", "cookie", "c=d", "x-long", strings.Repeat("l", 200)}

// pieces reads input in pieces of size bytes.
func pieces(input []byte, size int) func([]byte) (int, error) {
	return func(p []byte) (int, error) {
		if len(input) == 0 {
			return 0, io.EOF
		}
		n := copy(p, input[:min(size, len(input))])
		input = input[n:]
		return n, nil
	}
}

// through returns what input becomes, and the codes of the refusals.
func through(t *testing.T, input []byte, size int) (out []byte, codes []string) {
	t.Helper()
	r := NewReader(pieces(input, size), Config{ListBytes: listBytes, OnRefuse: func(e *httperr.Error) { codes = append(codes, string(e.Code)) }})
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out, codes
}

// frame is a frame as text, with decoded fields.
type frame struct {
	header http2.FrameHeader
	fields []string
	data   string
}

// frames decodes what net/http gets. Its decoder has no dynamic table, because none may be needed.
func frames(t *testing.T, input []byte, table uint32) []frame {
	t.Helper()
	input = bytes.TrimPrefix(input, []byte(Preface))
	framer := http2.NewFramer(nil, bytes.NewReader(input))
	framer.MaxHeaderListSize = listBytes
	framer.ReadMetaHeaders = hpack.NewDecoder(table, nil)
	framer.ReadMetaHeaders.SetMaxDynamicTableSize(table)
	var all []frame
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				all = append(all, frame{data: "error"})
			}
			return all
		}
		one := frame{header: f.Header()}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			for _, field := range f.Fields {
				one.fields = append(one.fields, field.Name, field.Value)
			}
			one.header = http2.FrameHeader{Type: http2.FrameHeaders, StreamID: f.StreamID, Flags: f.Flags & http2.FlagHeadersEndStream}
		case *http2.DataFrame:
			one.data = string(f.Data())
		}
		all = append(all, one)
	}
}

// TestPasses: frames without fields pass unchanged, and blocks keep their fields, however the bytes arrive.
func TestPasses(t *testing.T) {
	c := newClient().headers(1, good...)
	_ = c.framer.WriteWindowUpdate(0, 7)
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, EndHeaders: true, PadLength: 9, Priority: http2.PriorityParam{StreamDep: 1, Weight: 3}, BlockFragment: c.encode(good...)})
	_ = c.framer.WriteDataPadded(3, false, bytes.Repeat([]byte("d"), 3000), []byte{0, 0})
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, EndStream: true, EndHeaders: true, BlockFragment: c.encode("grpc-trailer", "t")})
	c.fields.SetMaxDynamicTableSize(64)
	block := c.encode(good...)
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: block[:3]})
	_ = c.framer.WriteContinuation(5, false, nil)
	_ = c.framer.WriteContinuation(5, true, block[3:])
	c.headers(7, append(slices.Clone(good), "x-large", strings.Repeat("v", 12<<10))...)
	_ = c.framer.WriteRawFrame(0x42, 0xff, 7, []byte("unknown"))
	_ = c.framer.WritePing(false, [8]byte{1})
	for _, size := range []int{1, 2, 9, 10, 1000, 1 << 20} {
		out, codes := through(t, c.sent.Bytes(), size)
		if want, got := frames(t, c.sent.Bytes(), 4096), frames(t, out, 0); len(codes) > 0 || !equal(want, got) {
			t.Errorf("pieces of %d: %v, %d frames, want the %d of the client", size, codes, len(got), len(want))
		}
	}
}

func equal(a, b []frame) bool {
	return slices.EqualFunc(a, b, func(a, b frame) bool {
		return a.header.Type == b.header.Type && a.header.StreamID == b.header.StreamID && a.header.Flags == b.header.Flags && slices.Equal(a.fields, b.fields) && a.data == b.data
	})
}

// TestOutputIsBounded: the frames for net/http have at most MaxFrame bytes, also around that size.
func TestOutputIsBounded(t *testing.T) {
	for _, size := range []int{MaxFrame - 40, MaxFrame, 2*MaxFrame - 40, 3 * MaxFrame} {
		for extra := range 60 {
			c := newClient()
			block := c.encode(":method", "GET", ":scheme", "http", ":path", "/", "x", strings.Repeat("\x7e", size+extra))
			for stream, first := uint32(1), true; len(block) > 0; first = false {
				part := block[:min(len(block), MaxFrame)]
				block = block[len(part):]
				if first {
					_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, EndHeaders: len(block) == 0, BlockFragment: part})
				} else {
					_ = c.framer.WriteContinuation(stream, len(block) == 0, part)
				}
			}
			out, codes := through(t, c.sent.Bytes(), 1<<20)
			if len(codes) > 0 || !equal(frames(t, c.sent.Bytes(), 4096), frames(t, out, 0)) {
				t.Fatalf("%d bytes: %v", size+extra, codes)
			}
			framer := http2.NewFramer(nil, bytes.NewReader(out[len(Preface):]))
			framer.SetMaxReadFrameSize(MaxFrame)
			for {
				if _, err := framer.ReadFrame(); err != nil {
					if err != io.EOF {
						t.Fatalf("%d bytes: %v", size+extra, err)
					}
					break
				}
			}
		}
	}
}

// TestMalformedTrailers: net/http resets the stream, and the refusal is counted.
func TestMalformedTrailers(t *testing.T) {
	tests := map[string]struct {
		fields []string
		code   string
	}{
		"a pseudo-field": {[]string{":path", "/"}, "malformed-pseudo-field"},
		"uppercase":      {[]string{"X", "y"}, "malformed-field-name"},
		"a line end":     {[]string{"x", "y\n"}, "malformed-field-value"},
		"too large":      {[]string{"x", strings.Repeat("a", 60<<10), "y", strings.Repeat("a", 6<<10)}, "head-too-large"},
	}
	for name, tt := range tests {
		c := newClient()
		_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: c.encode(good...)})
		block := c.encode(tt.fields...)
		_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: len(block) < MaxFrame, BlockFragment: block[:min(len(block), MaxFrame)]})
		for rest := block[min(len(block), MaxFrame):]; len(rest) > 0; {
			part := rest[:min(len(rest), MaxFrame)]
			rest = rest[len(part):]
			_ = c.framer.WriteContinuation(1, len(rest) == 0, part)
		}
		out, codes := through(t, c.sent.Bytes(), 1<<20)
		if all := frames(t, out, 0); len(codes) != 1 || codes[0] != tt.code || all[len(all)-1].data != "error" {
			t.Errorf("%s: %v %v", name, codes, all)
		}
	}
}

// TestAnnouncedTrailers: net/http makes a place in a map of each name, so a request lists a bounded number of them.
func TestAnnouncedTrailers(t *testing.T) {
	for name, tt := range map[string]struct {
		fields []string
		codes  []string
	}{
		"as many as allowed": {fields: []string{"trailer", strings.Repeat("a,", 63) + "a", "trailer", strings.Repeat("b,", 63) + "b"}},
		"one more":           {fields: []string{"trailer", strings.Repeat("a,", 64) + "a", "trailer", strings.Repeat("b,", 63) + "b"}, codes: []string{"head-too-large"}},
	} {
		if _, codes := through(t, newClient().headers(1, slices.Concat(good, tt.fields)...).sent.Bytes(), 1<<20); !slices.Equal(codes, tt.codes) {
			t.Errorf("%s: %v", name, codes)
		}
	}
}

// TestTokenIsRemoved: a client cannot say that a request was refused.
func TestTokenIsRemoved(t *testing.T) {
	c := newClient().headers(1, append(slices.Clone(good), tokenField, "1 2 3", tokenField, "x")...).headers(3, append(slices.Clone(good), tokenField, "1 2 3")...)
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: true, BlockFragment: c.encode(tokenField, "1 2 3")})
	out, codes := through(t, c.sent.Bytes(), 1<<20)
	for _, f := range frames(t, out, 0) {
		if slices.Contains(f.fields, tokenField) {
			t.Errorf("%v", f)
		}
	}
	if bytes.Contains(out, []byte(tokenField)) || len(codes) > 0 {
		t.Errorf("%q %v", out, codes)
	}
}

// TestPrioritiesOnThemselves: net/http resets such a stream.
func TestPrioritiesOnThemselves(t *testing.T) {
	c := newClient()
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, Priority: http2.PriorityParam{StreamDep: 1, Weight: 3}, BlockFragment: c.encode(good...)})
	if _, codes := through(t, c.sent.Bytes(), 1<<20); !slices.Equal(codes, []string{"malformed-request"}) {
		t.Errorf("%v", codes)
	}
}

// TestIdleConnectionsHoldNothing: between two blocks a connection has only its buffer and its table.
func TestIdleConnectionsHoldNothing(t *testing.T) {
	c := newClient().headers(1, append(slices.Clone(good), "x-large", strings.Repeat("v", 5000))...)
	r := NewReader(pieces(c.sent.Bytes(), 1<<20), Config{ListBytes: listBytes})
	if _, err := io.ReadAll(r); err != nil || r.block.scratch != nil || r.block.pseudo != [pseudos]string{} {
		t.Errorf("%+v, %v", r.block, err)
	}
}
