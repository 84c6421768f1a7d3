package apikey

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
var ErrUnavailable = errors.New("the key file is not available")

// Live is a source that keeps itself up to date, such as a value in Vault. Its new value is read at once.
type Live interface {
	// Changed returns a channel that is closed when the value changes or is deleted.
	Changed() <-chan struct{}
}

// Config configures a Store. Source and Logger are required.
type Config struct {
	// Name names the source in log lines.
	Name   string
	Source secret.Source
	// Revocable says that an error of Source means that the value must not be used any more, as it is with Vault. Otherwise the last good
	// file stays in use.
	Revocable bool
	// Interval is how often the source is read; it defaults to DefaultInterval.
	Interval time.Duration
	Logger   *slog.Logger
}

// Store has the current file of a source. It is safe for concurrent use.
type Store struct {
	cfg    Config
	mu     sync.Mutex // held while a file is read
	value  secret.Value
	state  atomic.Pointer[state]
	cancel context.CancelFunc
	done   chan struct{}
}

// state is the outcome of the latest read. file is nil if there is none to use; err is nil if file is the source's current one.
type state struct {
	file *File
	err  error
}

// Open reads the source once, and then in the background until Close.
func Open(c Config) *Store {
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Store{cfg: c, cancel: cancel, done: make(chan struct{})}
	s.state.Store(&state{err: ErrUnavailable})
	if !c.Revocable { // Vault may be slow, and the start of a sidecar does not wait for it
		s.read(ctx)
	}
	go s.run(ctx)
	return s
}

func (s *Store) run(ctx context.Context) {
	defer close(s.done)
	ticker := time.NewTicker(s.cfg.Interval)
	defer ticker.Stop()
	for {
		var changed <-chan struct{} // nil is never ready
		if live, ok := s.cfg.Source.(Live); ok {
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
func (s *Store) read(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.state.Load()
	value, err := s.cfg.Source.Read(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		next := &state{file: last.file, err: fmt.Errorf("reading key file %s: %w", s.cfg.Name, err)}
		if s.cfg.Revocable {
			next.file = nil
		}
		s.value = secret.Value{}
		s.replace(last, next)
		return
	}
	if !s.value.IsZero() && value.Equal(s.value) {
		return
	}
	s.value = value
	file, err := Parse(value.Reveal())
	if err != nil {
		s.replace(last, &state{file: last.file, err: err})
		return
	}
	file.inherit(last.file)
	s.replace(last, &state{file: file})
	s.cfg.Logger.Info("loaded API keys", "source", s.cfg.Name, "keys", file.Len())
}

func (s *Store) replace(last, next *state) {
	s.state.Store(next)
	if next.err != nil && (last.err == nil || last.err.Error() != next.err.Error()) {
		s.cfg.Logger.Warn("loading API keys failed", "source", s.cfg.Name, "lastGoodKept", next.file != nil, "error", next.err)
	}
}

// inherit keeps the record of use of the keys that were in the earlier file.
func (f *File) inherit(earlier *File) {
	if earlier == nil {
		return
	}
	for _, e := range f.entries {
		if was := earlier.bySum[e.sum]; was != nil && was.ID == e.ID {
			e.use = was.use
		}
	}
}

// File returns the file in use. The error wraps the reason if there is none.
func (s *Store) File() (*File, error) {
	st := s.state.Load()
	if st.file == nil {
		return nil, st.err
	}
	return st.file, nil
}

// Err returns why the file in use is not the source's current one, or nil.
func (s *Store) Err() error { return s.state.Load().err }

// Close ends the reads.
func (s *Store) Close() {
	s.cancel()
	<-s.done
}
