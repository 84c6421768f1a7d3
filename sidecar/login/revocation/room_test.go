package revocation

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"
)

// counted is a feed with n entries. It is never followed.
type counted struct {
	n   int
	err error
}

func (c counted) Load(ctx context.Context, _ func([]Entry)) (Cursor, error) {
	<-ctx.Done()
	return Cursor{}, ctx.Err()
}

func (c counted) Follow(context.Context, Cursor, time.Duration, Sink) error {
	return errors.ErrUnsupported
}
func (c counted) Find(context.Context, []Entry) ([]Entry, error) { return nil, errors.ErrUnsupported }
func (c counted) Count(context.Context) (int, error)             { return c.n, c.err }

func TestOverflowedIndexRecounts(t *testing.T) {
	unavailable := errors.New("unavailable")
	tests := map[string]struct {
		feed    counted
		whole   bool
		counted time.Duration
		want    error
	}{
		"room again":               {feed: counted{n: 90}, counted: recountEvery, want: errRoom},
		"too little room":          {feed: counted{n: 91}, counted: recountEvery},
		"counted recently":         {feed: counted{n: 90}, counted: recountEvery - time.Second},
		"no overflow":              {feed: counted{n: 90}, whole: true, counted: recountEvery},
		"the store is unavailable": {feed: counted{err: unavailable}, counted: recountEvery, want: unavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			x, err := NewIndex(IndexConfig{Feed: tt.feed, MaxEntries: 100, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			defer x.Close()
			x.table.overflow.Store(!tt.whole)
			x.counted = now.Add(-tt.counted)
			if err := x.Fresh(t.Context(), now); !errors.Is(err, tt.want) {
				t.Errorf("Fresh = %v; want %v", err, tt.want)
			}
		})
	}
}
