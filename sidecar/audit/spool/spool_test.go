package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func items(texts ...string) (list []Item) {
	for _, text := range texts {
		list = append(list, Item{Kind: Record, Payload: []byte(text)})
	}
	return list
}

func texts(list []Item) (out []string) {
	for _, i := range list {
		out = append(out, string(i.Payload))
	}
	return out
}

func next(t *testing.T, r Reader, count int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	list, err := r.Next(ctx, count, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return texts(list)
}

// both runs a test with a spool in memory and one in files.
func both(t *testing.T, limit int64, test func(t *testing.T, s Spool)) {
	t.Run("memory", func(t *testing.T) { test(t, NewMemory(limit)) })
	t.Run("volume", func(t *testing.T) {
		v, err := OpenVolume(t.TempDir(), limit)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = v.Close() })
		test(t, v)
	})
}

// TestEachReaderGetsAll: each sink gets the items in their order, and again what it has not acknowledged.
func TestEachReaderGetsAll(t *testing.T) {
	both(t, 1<<20, func(t *testing.T, s Spool) {
		a, b := s.Reader("a"), s.Reader("b")
		if err := s.Append(items("1", "2", "3")); err != nil {
			t.Fatal(err)
		}
		if got := next(t, a, 2); !slices.Equal(got, []string{"1", "2"}) {
			t.Errorf("%q", got)
		}
		if got := next(t, a, 9); !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Errorf("without an acknowledgement: %q", got)
		}
		if err := a.Ack(2); err != nil {
			t.Fatal(err)
		}
		if got := next(t, a, 9); !slices.Equal(got, []string{"3"}) || a.Pending() != 1 || b.Pending() != 3 {
			t.Errorf("after two: %q, %d and %d pending", got, a.Pending(), b.Pending())
		}
		if got := next(t, b, 9); !slices.Equal(got, []string{"1", "2", "3"}) {
			t.Errorf("the other sink: %q", got)
		}
		if list, err := b.Next(t.Context(), 9, 1); err != nil || len(list) != 1 {
			t.Errorf("more than the size: %q, %v", texts(list), err)
		}
	})
}

// TestFull: a full spool takes nothing until all readers have made room, and says when that is. What is larger than the spool is taken
// when it is empty.
func TestFull(t *testing.T) {
	both(t, 1000, func(t *testing.T, s Spool) {
		a, b := s.Reader("a"), s.Reader("b")
		large := items(strings.Repeat("x", 2000))
		for range 2 {
			if err := s.Append(large); err != nil {
				t.Fatal(err)
			}
			if err := s.Append(items("1")); !errors.Is(err, ErrFull) {
				t.Fatalf("appending to a full spool: %v", err)
			}
			room := s.Room()
			if err := a.Ack(1); err != nil {
				t.Fatal(err)
			}
			select {
			case <-room:
				t.Fatal("there is room although one sink has acknowledged nothing")
			default:
			}
			if err := b.Ack(1); err != nil {
				t.Fatal(err)
			}
			<-room
			if used, limit := s.Usage(); used != 0 || limit != 1000 {
				t.Errorf("%d of %d bytes are used", used, limit)
			}
		}
	})
}

// TestReadersWait for items, and for the end of their context.
func TestReadersWait(t *testing.T) {
	both(t, 1<<20, func(t *testing.T, s Spool) {
		r := s.Reader("a")
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stop")
		cancel(stop)
		if _, err := r.Next(ctx, 1, 1); !errors.Is(err, stop) {
			t.Errorf("at the end: %v", err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range 200 {
				if err := s.Append(items(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			}
		})
		for seen := 0; seen < 200; {
			got := next(t, r, 7)
			for i, text := range got {
				if text != fmt.Sprint(seen+i) {
					t.Fatalf("%q after %d items", got, seen)
				}
			}
			if err := r.Ack(len(got)); err != nil {
				t.Fatal(err)
			}
			seen += len(got)
		}
		wg.Wait()
	})
}

// reopen opens the directory as a container that starts again does.
func reopen(t *testing.T, dir string) *Volume {
	t.Helper()
	v, err := OpenVolume(dir, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// TestVolumeOutlivesTheProcess: each sink continues after what it has acknowledged, over several files, also after a write that was cut off
// or damaged.
func TestVolumeOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	v := reopen(t, dir)
	a, b := v.Reader("a"), v.Reader("b")
	for i := range 20 {
		if err := v.Append([]Item{{Kind: Checkpoint, Payload: []byte(fmt.Sprint(i) + strings.Repeat(" ", 600<<10))}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []struct {
		Reader
		n int
	}{{a, 15}, {b, 9}} {
		for range r.n {
			next(t, r, 1)
			if err := r.Ack(1); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if len(files) != 2 {
		t.Errorf("%d files; want those with the last eleven items", len(files))
	}
	last := files[len(files)-1]
	for name, damage := range map[string][]byte{"half a header": {0, 0, 0}, "half an item": {0, 0, 0, 9, 1, 0, 0, 0, 0, 'x'}, "a wrong checksum": {0, 0, 0, 1, 1, 0, 0, 0, 0, 'x'}, "a huge length": {255, 255, 255, 255, 1, 0, 0, 0, 0, 'x'}} {
		t.Run(name, func(t *testing.T) {
			f, err := os.OpenFile(last, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = f.Write(damage)
			_ = f.Close()
			v := reopen(t, dir)
			a, b := v.Reader("a"), v.Reader("b")
			if a.Pending() != 5 || b.Pending() != 11 {
				t.Errorf("%d and %d pending", a.Pending(), b.Pending())
			}
			if got := next(t, a, 1); !strings.HasPrefix(got[0], "15 ") {
				t.Errorf("%.9q", got)
			}
			if err := v.Append(items("new")); err != nil {
				t.Fatal(err)
			}
			if got := a.Pending(); got != 6 {
				t.Errorf("%d pending after another item", got)
			}
			list, err := b.Next(t.Context(), 99, 1<<30)
			if err != nil || list[0].Kind != Checkpoint {
				t.Errorf("%v", err)
			}
			s := v.segments[len(v.segments)-1] // remove "new" for the next case
			if err := s.file.Truncate(s.offsets[len(s.offsets)-1]); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestEmptyVolumeContinuesItsNumbers: numbers never begin again, so that an old acknowledgement does not hide new items.
func TestEmptyVolumeContinuesItsNumbers(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		v := reopen(t, dir)
		if err := v.Append(items(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		r := v.Reader("a")
		if got := next(t, r, 9); !slices.Equal(got, []string{fmt.Sprint(i)}) {
			t.Errorf("%q", got)
		}
		if err := r.Ack(1); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzSegment(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 1, 0, 0, 0, 0, 'x'})
	f.Fuzz(func(t *testing.T, content []byte) {
		name := filepath.Join(t.TempDir(), "00000000000000000000"+segmentSuffix)
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openSegment(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.read(0, len(s.offsets), 1<<30); err != nil && len(s.offsets) > 0 {
			t.Error(err)
		}
		_ = s.file.Close()
	})
}
