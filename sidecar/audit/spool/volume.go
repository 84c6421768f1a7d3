package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// segmentSize is the size at which a new file begins, in bytes.
const segmentSize = 4 << 20

// Volume is a Spool in the files of a directory. Items are synced to the disk before Append returns.
type Volume struct {
	dir   string
	limit int64
	// lock is held while the spool is open; nil if the caller sees to that.
	lock *os.File

	mu       sync.Mutex
	segments []*segment
	used     int64
	readers  []*volumeReader
	// base is the number of the first item if there are no segments: numbers never begin again.
	base int
	// added and removed are closed and replaced when items are added or removed.
	added, removed chan struct{}
	// damaged says that the last write has failed: the end of the file is then not known.
	damaged bool
	// err is set when the spool is closed.
	err error
}

// OpenVolume opens the spool of a directory, which it makes. It is for one process at a time. What a process that was killed left
// unfinished at the end of a file is removed.
func OpenVolume(dir string, limit int64) (*Volume, error) {
	v := &Volume{dir: dir, limit: limit, added: make(chan struct{}), removed: make(chan struct{})}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the spool: %w", err)
	}
	acknowledged, err := filepath.Glob(filepath.Join(dir, "*"+acknowledgedSuffix))
	if err != nil {
		return nil, fmt.Errorf("opening the spool: %w", err)
	}
	for _, name := range acknowledged {
		v.base = max(v.base, readNumber(name))
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil {
		return nil, fmt.Errorf("opening the spool: %w", err)
	}
	slices.Sort(names)
	for _, name := range names {
		s, err := openSegment(name)
		if err != nil {
			_ = v.Close()
			return nil, fmt.Errorf("opening the spool: %w", err)
		}
		if last := len(v.segments) - 1; last >= 0 && v.segments[last].end() != s.start {
			_ = s.file.Close()
			_ = v.Close()
			return nil, fmt.Errorf("opening the spool: %s does not continue the file before it", name)
		}
		v.segments, v.used = append(v.segments, s), v.used+s.size
	}
	return v, nil
}

// Append implements Spool. A write that fails, for example because the disk of the node is full, can succeed later.
func (v *Volume) Append(items []Item) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	size := sizeOf(items)
	switch {
	case v.err != nil:
		return v.err
	case v.used > 0 && v.used+size > v.limit:
		return ErrFull
	}
	if err := v.write(items); err != nil {
		v.damaged = true
		return fmt.Errorf("writing the spool: %w", err)
	}
	v.damaged = false
	close(v.added)
	v.added = make(chan struct{})
	return nil
}

// write adds items to the last segment. The caller holds the lock.
func (v *Volume) write(items []Item) error {
	last, err := v.last()
	if err == nil && v.damaged {
		err = last.repair()
	}
	if err != nil {
		return err
	}
	before := last.size
	err = last.append(items)
	v.used += last.size - before
	return err
}

// last returns the segment to which items are added. The caller holds the lock.
func (v *Volume) last() (*segment, error) {
	if n := len(v.segments); n > 0 && v.segments[n-1].size < segmentSize {
		return v.segments[n-1], nil
	}
	s, err := createSegment(v.dir, v.end())
	if err == nil {
		v.segments = append(v.segments, s)
	}
	return s, err
}

// end returns the number of the next item. The caller holds the lock.
func (v *Volume) end() int {
	if n := len(v.segments); n > 0 {
		return v.segments[n-1].end()
	}
	return v.base
}

// acknowledgedSuffix ends the names of files with the number of the first item that a sink has not acknowledged.
const acknowledgedSuffix = ".acknowledged"

// readNumber returns the number in a file. It is 0 if the file is missing or damaged: everything is then delivered again.
func readNumber(name string) int {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return max(n, 0)
}

// Reader implements Spool. It continues after what the sink acknowledged before.
func (v *Volume) Reader(sink string) Reader {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := &volumeReader{spool: v, file: filepath.Join(v.dir, sink+acknowledgedSuffix)}
	r.next = v.base
	if len(v.segments) > 0 {
		r.next = min(max(readNumber(r.file), v.segments[0].start), v.end())
	}
	v.readers = append(v.readers, r)
	return r
}

// Room implements Spool.
func (v *Volume) Room() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.removed
}

// Usage implements Spool.
func (v *Volume) Usage() (used, limit int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.used, v.limit
}

// Close closes the files.
func (v *Volume) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	var errs []error
	for _, s := range v.segments {
		errs = append(errs, s.file.Close())
	}
	if v.lock != nil {
		errs = append(errs, v.lock.Close())
		v.lock = nil
	}
	v.segments, v.err = nil, errors.New("the spool is closed")
	return errors.Join(errs...)
}

// trim removes the files that every reader has acknowledged. The caller holds the lock.
func (v *Volume) trim() error {
	for len(v.segments) > 0 {
		s := v.segments[0]
		if slices.ContainsFunc(v.readers, func(r *volumeReader) bool { return r.next < s.end() }) {
			return nil
		}
		if err := errors.Join(s.file.Close(), os.Remove(s.file.Name())); err != nil {
			return fmt.Errorf("removing a file of the spool: %w", err)
		}
		v.segments, v.used, v.base = v.segments[1:], v.used-s.size, s.end()
		close(v.removed)
		v.removed = make(chan struct{})
	}
	return nil
}

type volumeReader struct {
	spool *Volume
	file  string
	// next is the number of the first item that is not acknowledged.
	next int
}

// Next implements Reader.
func (r *volumeReader) Next(ctx context.Context, count int, size int64) ([]Item, error) {
	for {
		r.spool.mu.Lock()
		batch, err := r.read(count, size)
		added := r.spool.added
		r.spool.mu.Unlock()
		if err != nil || len(batch) > 0 {
			return batch, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-added:
		}
	}
}

// read returns the next items of one file. The caller holds the lock.
func (r *volumeReader) read(count int, size int64) ([]Item, error) {
	for _, s := range r.spool.segments {
		if r.next < s.end() {
			return s.read(r.next, count, size)
		}
	}
	return nil, nil
}

// Ack implements Reader.
func (r *volumeReader) Ack(n int) error {
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	r.next += n
	if err := os.WriteFile(r.file, []byte(strconv.Itoa(r.next)), 0o600); err != nil {
		return fmt.Errorf("acknowledging items of the spool: %w", err)
	}
	return r.spool.trim()
}

// Pending implements Reader.
func (r *volumeReader) Pending() int {
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	return r.spool.end() - r.next
}
