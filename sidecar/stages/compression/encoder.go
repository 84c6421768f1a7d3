package compression

import (
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// window is how far back encoders look, in bytes; it is most of their memory, and far within the 8 MiB that browsers
	// take (RFC 9659).
	window = 1 << 18
	// brotliWindowBits is window as Brotli counts it.
	brotliWindowBits = 18
	// brotliLevel and gzipLevel cost about as much CPU as zstd's fastest.
	brotliLevel = 3
	gzipLevel   = 4
)

// encoder writes one encoded body. Close ends it without closing what it writes to.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

// pool keeps encoders of one coding.
type pool struct {
	free *sync.Pool
	make func() (encoder, error)
}

func newPools() [numCodings]pool {
	return [numCodings]pool{
		codingZstd: {free: &sync.Pool{}, make: func() (encoder, error) {
			return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(window),
				zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true))
		}},
		codingBrotli: {free: &sync.Pool{}, make: func() (encoder, error) {
			return brotli.NewWriterOptions(nil, brotli.WriterOptions{Quality: brotliLevel, LGWin: brotliWindowBits}), nil
		}},
		codingGzip: {free: &sync.Pool{}, make: func() (encoder, error) { return gzip.NewWriterLevel(nil, gzipLevel) }},
	}
}

// get returns an encoder that writes to w.
func (p pool) get(w io.Writer) (encoder, error) {
	if e, ok := p.free.Get().(encoder); ok {
		e.Reset(w)
		return e, nil
	}
	e, err := p.make()
	if err != nil {
		return nil, fmt.Errorf("making encoder: %w", err)
	}
	e.Reset(w)
	return e, nil
}

// put takes an encoder back. It forgets its writer first, so that nothing of a request outlives it.
func (p pool) put(e encoder) {
	e.Reset(io.Discard)
	p.free.Put(e)
}
