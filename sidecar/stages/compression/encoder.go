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
	// window is how far back encoders look, in bytes. It is most of their memory, and much smaller than the 8 MiB
	// that browsers accept (RFC 9659).
	window = 1 << 18
	// brotliWindowBits is window in Brotli's unit.
	brotliWindowBits = 18
	// brotliLevel and gzipLevel need about as much CPU as the fastest level of zstd.
	brotliLevel = 3
	gzipLevel   = 4
)

// encoder writes one encoded body. Close ends the body but does not close the underlying writer.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

// pool holds unused encoders of one coding.
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
		return nil, fmt.Errorf("creating encoder: %w", err)
	}
	e.Reset(w)
	return e, nil
}

// put returns an encoder to the pool. The encoder first drops its writer, so that it keeps nothing of the request.
func (p pool) put(e encoder) {
	e.Reset(io.Discard)
	p.free.Put(e)
}
