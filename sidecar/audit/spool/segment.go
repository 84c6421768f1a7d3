package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// segmentSuffix ends the names of files. The rest of a name is the number of the first item, with leading zeros.
const segmentSuffix = ".spool"

// An item in a file is a header and the payload. The header is the length of the payload in four bytes, the kind in one, and in four the
// CRC-32C of the kind and the payload; numbers are big-endian.
const headerSize = 9

// maxPayload bounds the payload of an item in a file, in bytes, so that a damaged length does not take all memory.
const maxPayload = 1 << 20

// segment is one file.
type segment struct {
	file *os.File
	// start is the number of the first item, and offsets are where the items begin. size is the length of the file.
	start   int
	offsets []int64
	size    int64
}

// end returns the number of the item after the last.
func (s *segment) end() int { return s.start + len(s.offsets) }

func createSegment(dir string, start int) (*segment, error) {
	file, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%020d%s", start, segmentSuffix)), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &segment{file: file, start: start}, nil
}

// openSegment finds the items of a file, and removes an incomplete or damaged end.
func openSegment(name string) (*segment, error) {
	start, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), segmentSuffix))
	if err != nil {
		return nil, fmt.Errorf("%s is not a file of a spool", name)
	}
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	s := &segment{file: file, start: start}
	for {
		_, n, err := readItem(file, s.size)
		if err != nil {
			break
		}
		s.offsets = append(s.offsets, s.size)
		s.size += n
	}
	if err := file.Truncate(s.size); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return s, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// append writes items to the end, and syncs the file.
func (s *segment) append(items []Item) error {
	var b []byte
	offsets := make([]int64, 0, len(items))
	for _, i := range items {
		offsets = append(offsets, s.size+int64(len(b)))
		b = binary.BigEndian.AppendUint32(b, uint32(len(i.Payload)))
		b = append(b, byte(i.Kind))
		b = binary.BigEndian.AppendUint32(b, checksum(i.Kind, i.Payload))
		b = append(b, i.Payload...)
	}
	if _, err := s.file.WriteAt(b, s.size); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	s.offsets, s.size = append(s.offsets, offsets...), s.size+int64(len(b))
	return nil
}

// repair opens the file again and removes what a failed write may have left behind the last item.
func (s *segment) repair() error {
	file, err := os.OpenFile(s.file.Name(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := file.Truncate(s.size); err != nil {
		return errors.Join(err, file.Close())
	}
	_ = s.file.Close() // what it had not written is not missed
	s.file = file
	return nil
}

func checksum(k Kind, payload []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte{byte(k)}, castagnoli), castagnoli, payload)
}

// read returns items from the number next on.
func (s *segment) read(next, count int, size int64) (items []Item, err error) {
	total := int64(0)
	for _, offset := range s.offsets[next-s.start:] {
		i, n, err := readItem(s.file, offset)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", s.file.Name(), err)
		}
		if len(items) == count || len(items) > 0 && total+n > size {
			break
		}
		items, total = append(items, i), total+n
	}
	return items, nil
}

// readItem returns the item at the offset, and its length in the file.
func readItem(r io.ReaderAt, offset int64) (Item, int64, error) {
	var header [headerSize]byte
	if _, err := r.ReadAt(header[:], offset); err != nil {
		return Item{}, 0, err
	}
	length := binary.BigEndian.Uint32(header[:4])
	if length > maxPayload {
		return Item{}, 0, fmt.Errorf("an item of %d bytes", length)
	}
	payload := make([]byte, length)
	if n, err := r.ReadAt(payload, offset+headerSize); n < len(payload) {
		return Item{}, 0, err
	}
	i := Item{Kind: Kind(header[4]), Payload: payload}
	if binary.BigEndian.Uint32(header[5:]) != checksum(i.Kind, payload) {
		return Item{}, 0, errors.New("the checksum of an item is wrong")
	}
	return i, headerSize + int64(length), nil
}
