// Package document brings the policy's documents to the sidecar in two ways, by the mounted ConfigMap and by a long poll to the
// operator; the newer revision wins.
package document

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/posterndev/postern/api/compiled"
)

// Apply puts a document in force. An error says why the sidecar cannot run it: the one before stays in force.
type Apply func(ctx context.Context, p *compiled.Policy, hash string) error

// Config says which documents are accepted.
type Config struct {
	// Namespace and Policy name the policy; a document of another one is refused, even with a valid signature.
	Namespace, Policy string
	// Key is the operator's.
	Key ed25519.PublicKey
	// Floor is the lowest revision that is accepted: what the policy's document had when the pod was created. An older
	// document, however well signed, was put back. 0 accepts any.
	Floor int64
	// Apply is called for one document at a time.
	Apply Apply
	// Version is this build's, for the operator's status.
	Version string
	Logger  *slog.Logger
}

// Keeper validates documents and remembers which one is in force. It is safe for concurrent use.
type Keeper struct {
	cfg Config

	mu       sync.Mutex
	revision int64
	report   compiled.Report
	changed  chan struct{} // closed and replaced when the report changes
}

// NewKeeper returns a Keeper without a document.
func NewKeeper(cfg Config) *Keeper {
	return &Keeper{
		cfg:     cfg,
		report:  compiled.Report{SchemaVersion: compiled.SchemaVersion, Version: cfg.Version},
		changed: make(chan struct{}),
	}
}

var (
	errForeign = errors.New("the document is another policy's")
	errOld     = errors.New("the document is older than the one in force")
	// errBelowFloor is reported, unlike errOld: a sidecar that is given nothing else stays without a document.
	errBelowFloor = errors.New("the document is older than the policy's was when this pod was created: somebody put it back; " +
		"the operator replaces it once it runs")
)

// Offer validates a signed document and applies it where it is newer than the one in force. Offering the document in force
// again is no error. A refusal is reported to the operator, unless the signature is not the operator's.
func (k *Keeper) Offer(ctx context.Context, s compiled.Signed) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	hash := s.Hash()
	if hash == k.report.Hash {
		return nil
	}
	p, err := s.Open(k.cfg.Key)
	if errors.Is(err, compiled.ErrSignature) {
		return err
	}
	if err == nil {
		err = k.judge(p)
	}
	if errors.Is(err, errForeign) || errors.Is(err, errOld) {
		return err
	}
	if err == nil {
		err = k.cfg.Apply(ctx, p, hash)
	}
	if err != nil {
		k.refuse(hash, err)
		return fmt.Errorf("applying document: %w", err)
	}
	k.revision = p.Revision
	k.update(func(r *compiled.Report) { r.Hash, r.Refused, r.Error = hash, "", "" })
	k.cfg.Logger.InfoContext(ctx, "document in force", "document", hash, "generation", p.Generation, "revision", p.Revision, "deleted", p.Deleted)
	return nil
}

func (k *Keeper) judge(p *compiled.Policy) error {
	if p.Namespace != k.cfg.Namespace || p.Name != k.cfg.Policy {
		return fmt.Errorf("%w: it is for %s/%s", errForeign, p.Namespace, p.Name)
	}
	if p.Revision <= k.revision {
		return errOld
	}
	if p.Revision < k.cfg.Floor {
		return fmt.Errorf("%w (revision %d, at least %d is needed)", errBelowFloor, p.Revision, k.cfg.Floor)
	}
	return nil
}

func (k *Keeper) refuse(hash string, err error) {
	if k.report.Refused == hash && k.report.Error == bounded(err.Error()) {
		return
	}
	text := "document refused, the one before stays in force"
	if k.report.Hash == "" {
		text = "document refused, and there is none to run: every request is answered 503"
	}
	k.cfg.Logger.Error(text, "document", hash, "inForce", k.report.Hash, "error", err)
	k.update(func(r *compiled.Report) { r.Refused, r.Error = hash, bounded(err.Error()) })
}

// maxErrorText keeps a report inside the bounds that the operator accepts, in bytes.
const maxErrorText = 500

func bounded(s string) string { return Short(s, maxErrorText) }

// Short cuts a text for a report to limit bytes, and replaces characters that JSON writes as six: the operator refuses a report
// that is too long, and with it the poll that brings documents.
func Short(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	return s
}

// SetReachable reports the pod's listeners that clients reach without passing the sidecar.
func (k *Keeper) SetReachable(listeners []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Equal(k.report.Reachable, listeners) {
		k.update(func(r *compiled.Report) { r.Reachable = listeners })
	}
}

// SetProblems reports the dependencies of the policy that are unavailable.
func (k *Keeper) SetProblems(problems []compiled.Problem) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Equal(k.report.Problems, problems) {
		k.update(func(r *compiled.Report) { r.Problems = problems })
	}
}

// update changes the report and wakes those that wait for a change; the caller holds the lock.
func (k *Keeper) update(change func(*compiled.Report)) {
	change(&k.report)
	close(k.changed)
	k.changed = make(chan struct{})
}

// Report returns the report for the operator, and a channel that is closed when it changes.
func (k *Keeper) Report() (compiled.Report, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.report, k.changed
}
