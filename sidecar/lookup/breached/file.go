package breached

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/posterndev/postern/sidecar/lookup/service"
	"github.com/posterndev/postern/sidecar/span"
)

// maxLine bounds a line of the file, in bytes.
const maxLine = 128

// parallel bounds the look-ups on one volume that are in progress. Further ones fail at once. Reading from a network volume whose server does
// not respond blocks a thread in the kernel, for as long as it likes.
const parallel = 16

// Places bound the look-ups on one volume. They outlive a File, so that a reload during an outage does not block more threads.
type Places chan struct{}

// NewPlaces returns the places of one volume.
func NewPlaces() Places { return make(Places, parallel) }

// File is a Source in a file: lines of "hash:count" in the order of the hashes, as the downloader of Have I Been Pwned writes them. It
// opens the file for each look-up, so that a new file can replace it, and reads about forty blocks of it.
type File struct {
	dir, path string
	timeout   time.Duration
	places    Places
	// look is replaced in tests.
	look func(password string) (int, error)
}

// NewFile returns a Source in the file at path, with slashes and relative to dir. Neither path nor a symbolic link leaves dir. A look-up
// that takes longer than timeout fails. The file need not exist yet. places are those of the volume.
func NewFile(dir, path string, timeout time.Duration, places Places) *File {
	f := &File{dir: dir, path: path, timeout: timeout, places: places}
	f.look = f.search
	return f
}

// Count implements Source.
func (f *File) Count(ctx context.Context, password string) (_ int, err error) {
	ctx, call := span.Start(ctx, "breached-passwords")
	defer func() { call.End(err) }()
	select {
	case f.places <- struct{}{}:
	default:
		return 0, fmt.Errorf("looking up password: %w: %d look-ups on its volume are in progress", service.ErrUnavailable, parallel)
	}
	type result struct {
		count int
		err   error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-f.places }()
		count, err := f.look(password)
		done <- result{count, err}
	}()
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	select {
	case r := <-done:
		if r.err != nil {
			return 0, fmt.Errorf("looking up password: %w: %w", service.ErrUnavailable, r.err)
		}
		return r.count, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("looking up password: %w: reading its file: %w", service.ErrUnavailable, ctx.Err())
	}
}

// search opens the file inside its directory. O_NONBLOCK does not wait for the other end of a named pipe.
func (f *File) search(password string) (int, error) {
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	file, err := root.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return 0, err
	case !info.Mode().IsRegular():
		return 0, errors.New("it is not a regular file")
	case info.Size() == 0:
		return 0, errors.New("it is empty")
	}
	return search(file, info.Size(), digest(password))
}

var (
	errLine      = errors.New("the list has a line that is not hash:count")
	errNotSorted = errors.New("the list is not in the order of its hashes")
)

// search finds a hash among sorted lines by bisection over the bytes: at every step it reads the first line that begins at or after the
// middle. A line that is not between those read before shows that the list has another order, in which most hashes would not be found.
func search(r io.ReaderAt, size int64, hash string) (int, error) {
	low, high := int64(0), size // the line begins in [low, high)
	least, most := "", "G"      // and its hash is between these
	for low < high {
		middle := low + (high-low)/2
		start, line, err := lineFrom(r, middle, size)
		if err != nil {
			return 0, err
		}
		if start >= high {
			high = middle
			continue
		}
		found, count, ok := readLine(line, len(hash))
		if found = strings.ToUpper(found); !ok {
			return 0, errLine
		}
		if found < least || found > most {
			return 0, errNotSorted
		}
		switch order := strings.Compare(found, hash); {
		case order == 0:
			return count, nil
		case order < 0:
			low, least = start+int64(len(line)), found
		default:
			high, most = middle, found
		}
	}
	return 0, nil
}

// lineFrom returns the first line that begins at offset or later, and where it begins; size if there is none.
func lineFrom(r io.ReaderAt, offset, size int64) (start int64, line []byte, err error) {
	from := max(offset-1, 0)
	buffer := make([]byte, min(2*maxLine, size-from))
	n, err := r.ReadAt(buffer, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, nil, err
	}
	rest := buffer[:n]
	start = from
	if offset > 0 {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			if start+int64(len(rest)) >= size {
				return size, nil, nil
			}
			return 0, nil, errLine
		}
		start, rest = from+int64(end)+1, rest[end+1:]
	}
	if start >= size {
		return size, nil, nil
	}
	if end := bytes.IndexByte(rest, '\n'); end >= 0 {
		return start, rest[:end+1], nil
	}
	if start+int64(len(rest)) < size { // the line is longer than maxLine
		return 0, nil, errLine
	}
	return start, rest, nil
}
