// Package document receives the policy's documents in two ways, from the mounted ConfigMap and by a long poll to the
// operator. The newer revision wins.
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
	"time"
	"unicode"

	"github.com/posterndev/postern/api/compiled"
)

// Apply activates a document. An error says why the sidecar cannot run it: the previous document stays active.
type Apply func(ctx context.Context, p *compiled.Policy, hash string) error

// Config says which documents are accepted.
type Config struct {
	// Namespace and Policy name the policy. A document of another policy is refused, even with a valid signature.
	Namespace, Policy string
	// Key is the operator's public key.
	Key ed25519.PublicKey
	// Floor is the lowest revision that is accepted: the revision of the policy's document when the pod was created.
	// An older document was restored by someone, even if its signature is valid. 0 accepts any revision.
	Floor int64
	// Apply is called for one document at a time.
	Apply Apply
	// Version is the version of this build, for the operator's status.
	Version string
	Logger  *slog.Logger
}

// Keeper validates documents and remembers the active one. It is safe for concurrent use.
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
	errForeign = errors.New("the document belongs to another policy")
	errOld     = errors.New("the document is older than the active one")
	// errBelowFloor is reported, unlike errOld, because a sidecar that gets no other document has none.
	errBelowFloor = errors.New("the document is older than the one from when this pod was created, so an old document was restored; " +
		"the operator replaces it when it is available")
)

// Offer validates a signed document and activates it if it is newer than the active one. Offering the active document
// again is not an error. A refusal is reported to the operator, unless the signature is not the operator's.
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
	k.cfg.Logger.InfoContext(ctx, "document active", "document", hash, "generation", p.Generation, "revision", p.Revision, "deleted", p.Deleted)
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
	text := "document refused, the previous one stays active"
	if k.report.Hash == "" {
		text = "document refused, and no document is active: every request gets 503"
	}
	k.cfg.Logger.Error(text, "document", hash, "inForce", k.report.Hash, "error", err)
	k.update(func(r *compiled.Report) { r.Refused, r.Error = hash, bounded(err.Error()) })
}

// maxErrorText keeps a report within the operator's limits, in bytes.
const maxErrorText = 500

func bounded(s string) string { return Short(s, maxErrorText) }

// Short cuts a text for a report to limit bytes, and replaces characters that JSON writes as six bytes. The operator
// refuses a report that is too long, and then the poll brings no documents.
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

// SetReachable reports the pod's listeners that clients can reach without passing the sidecar.
func (k *Keeper) SetReachable(listeners []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Equal(k.report.Reachable, listeners) {
		k.update(func(r *compiled.Report) { r.Reachable = listeners })
	}
}

// SetUnredirected reports whether the rules of Redirect are missing in the pod's network.
func (k *Keeper) SetUnredirected(missing bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.report.Unredirected != missing {
		k.update(func(r *compiled.Report) { r.Unredirected = missing })
	}
}

// SetProblems reports the policy's dependencies that are unavailable.
func (k *Keeper) SetProblems(problems []compiled.Problem) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Equal(k.report.Problems, problems) {
		k.update(func(r *compiled.Report) { r.Problems = problems })
	}
}

// SetCertificatesExpire reports when the first of the sidecar's certificates expires.
func (k *Keeper) SetCertificatesExpire(at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.report.CertificatesExpire.Equal(at) {
		k.update(func(r *compiled.Report) { r.CertificatesExpire = at })
	}
}

// update changes the report and wakes those that wait for a change. The caller holds the lock.
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
