// Package keyfile follows a file of hashes in a Secret or in Vault, and keeps the last good one.
package keyfile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// DefaultInterval is how often a source is read if Config names no interval. A mounted Secret is a file, and a value of Vault is in the
// memory of its client.
const DefaultInterval = time.Second

// ErrUnavailable is the error while no file was read.
var ErrUnavailable = errors.New("the file is not available")

// ErrLater is wrapped by the error of a file that can be used later as it is. It is parsed again at each read.
var ErrLater = errors.New("not yet")

// File is a pointer to the immutable content of a file. Len returns the number of its entries.
type File interface {
	comparable
	Len() int
}

// Live is a source that keeps itself up to date, such as a value in Vault. Its new value is read at once.
type Live interface {
	// Changed returns a channel that is closed when the value changes or is deleted.
	Changed() <-chan struct{}
}

// Source says where a file is. Name, Source and Logger are required.
type Source struct {
	// Name names the source in log lines.
	Name   string
	Source secret.Source
	// Revocable says that an error of Source means that the value must not be used any more, as it is with Vault. Otherwise the last good
	// file stays in use.
	Revocable bool
	// Background says that the first read may be slow, so that Open does not wait for it. Tried tells when it has ended.
	Background bool
	// Interval is how often the source is read; it defaults to DefaultInterval.
	Interval time.Duration
	Logger   *slog.Logger
}

// Format says how a file is read. All fields are required.
type Format[F File] struct {
	// Entries names the entries in log lines, for example API keys.
	Entries string
	// Parse parses a file. last is the file in use, or nil. Errors name no secret.
	Parse func(data []byte, last F) (F, error)
}

// Store has the current file of a source. It is safe for concurrent use.
type Store[F File] struct {
	source Source
	format Format[F]
	mu     sync.Mutex   // held while a file is read
	value  secret.Value // the latest that was parsed
	parsed bool         // whether value is that of the source
	state  atomic.Pointer[state[F]]
	tried  chan struct{} // closed after the first read
	once   sync.Once
	cancel context.CancelFunc
	done   chan struct{}
}

// state is the outcome of the latest read. file is nil if there is none to use; err is nil if file is the source's current one.
type state[F File] struct {
	file F
	err  error
}

func (s *state[F]) has() bool {
	var none F
	return s.file != none
}

// Open reads the source once, and then in the background until Close.
func Open[F File](source Source, format Format[F]) *Store[F] {
	if source.Interval == 0 {
		source.Interval = DefaultInterval
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Store[F]{source: source, format: format, cancel: cancel, done: make(chan struct{}), tried: make(chan struct{})}
	s.state.Store(&state[F]{err: ErrUnavailable})
	if !source.Revocable && !source.Background { // Vault may be slow, and the start of a sidecar does not wait for it
		s.read(ctx)
	}
	go s.run(ctx)
	return s
}

func (s *Store[F]) run(ctx context.Context) {
	defer close(s.done)
	ticker := time.NewTicker(s.source.Interval)
	defer ticker.Stop()
	for {
		var changed <-chan struct{} // nil is never ready
		if live, ok := s.source.Source.(Live); ok {
			changed = live.Changed() // before read, so that no change is missed
		}
		s.read(ctx)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-ticker.C:
		}
	}
}

// read reads the source. A file that cannot be parsed leaves the last good one in use.
func (s *Store[F]) read(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.once.Do(func() { close(s.tried) })
	last := s.state.Load()
	value, err := s.source.Source.Read(ctx)
	if ctx.Err() != nil {
		return
	}
	if errors.Is(err, secret.ErrEmpty) { // a file from which everything was removed is parsed like any other
		value, err = secret.Value{}, nil
	}
	if err != nil {
		next := &state[F]{err: fmt.Errorf("reading file of %s %s: %w", s.format.Entries, s.source.Name, err)}
		if !s.source.Revocable {
			next.file = last.file
		}
		s.parsed = false
		s.replace(last, next)
		return
	}
	if s.parsed && value.Equal(s.value) {
		return
	}
	s.value, s.parsed = value, true
	file, err := s.format.Parse(value.Reveal(), last.file)
	if err != nil {
		s.parsed = !errors.Is(err, ErrLater)
		s.replace(last, &state[F]{file: last.file, err: err})
		return
	}
	s.replace(last, &state[F]{file: file})
	s.source.Logger.Info("loaded "+s.format.Entries, "source", s.source.Name, "entries", file.Len())
}

func (s *Store[F]) replace(last, next *state[F]) {
	s.state.Store(next)
	if next.err != nil && (last.err == nil || last.err.Error() != next.err.Error()) {
		s.source.Logger.Warn("loading "+s.format.Entries+" failed", "source", s.source.Name, "lastGoodKept", next.has(), "error", next.err)
	}
}

// File returns the file in use. The error wraps the reason if there is none.
func (s *Store[F]) File() (F, error) {
	st := s.state.Load()
	if !st.has() {
		return st.file, st.err
	}
	return st.file, nil
}

// Tried is closed after the first read.
func (s *Store[F]) Tried() <-chan struct{} { return s.tried }

// Err returns why the file in use is not the source's current one, or nil.
func (s *Store[F]) Err() error { return s.state.Load().err }

// Close ends the reads.
func (s *Store[F]) Close() {
	s.cancel()
	<-s.done
}
