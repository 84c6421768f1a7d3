package document

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// operator signs documents as the operator does.
type operator struct {
	public  ed25519.PublicKey
	private ed25519.PrivateKey
}

func newOperator(t *testing.T) operator {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return operator{public, private}
}

func (o operator) sign(t *testing.T, change func(*compiled.Policy)) compiled.Signed {
	t.Helper()
	p := &compiled.Policy{
		SchemaVersion: 1, Namespace: "shop", Name: "orders", Revision: 10, Mode: compiled.Enforce, UndeclaredPorts: compiled.Deny,
		Authorization: compiled.Authorization{Default: compiled.RequireAnonymous, Mode: compiled.Enforce},
		Sidecar:       compiled.SidecarOptions{AccessLog: "All", LogLevel: "info"},
	}
	if change != nil {
		change(p)
	}
	s, err := compiled.Sign(p, o.private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func revision(n int64) func(*compiled.Policy) {
	return func(p *compiled.Policy) { p.Revision = n }
}

func (o operator) keeper(apply Apply) *Keeper {
	if apply == nil {
		apply = func(context.Context, *compiled.Policy, string) error { return nil }
	}
	return NewKeeper(Config{Namespace: "shop", Policy: "orders", Key: o.public, Apply: apply, Logger: slog.New(slog.DiscardHandler)})
}

func TestOfferRefuses(t *testing.T) {
	o, other := newOperator(t), newOperator(t)
	good := o.sign(t, nil)
	tests := map[string]struct {
		offer   compiled.Signed
		wantErr error
		// wantReported is true for documents with the operator's signature.
		wantReported bool
	}{
		"another operator's":           {offer: other.sign(t, revision(11)), wantErr: compiled.ErrSignature},
		"edited":                       {offer: compiled.Signed{Document: append([]byte(" "), good.Document...), Signature: good.Signature}, wantErr: compiled.ErrSignature},
		"unsigned":                     {offer: compiled.Signed{Document: o.sign(t, revision(11)).Document}, wantErr: compiled.ErrSignature},
		"older":                        {offer: o.sign(t, revision(9)), wantErr: errOld},
		"same revision, other content": {offer: o.sign(t, func(p *compiled.Policy) { p.Mode = compiled.Shadow }), wantErr: errOld},
		"another policy's":             {offer: o.sign(t, func(p *compiled.Policy) { p.Name, p.Revision = "carts", 11 }), wantErr: errForeign},
		"another namespace's":          {offer: o.sign(t, func(p *compiled.Policy) { p.Namespace, p.Revision = "evil", 11 }), wantErr: errForeign},
		"schema too new":               {offer: o.sign(t, func(p *compiled.Policy) { p.SchemaVersion, p.Revision = 99, 11 }), wantErr: compiled.ErrTooNew, wantReported: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := o.keeper(nil)
			if err := k.Offer(t.Context(), good); err != nil {
				t.Fatal(err)
			}
			if err := k.Offer(t.Context(), tt.offer); !errors.Is(err, tt.wantErr) {
				t.Errorf("error = %v; want %v", err, tt.wantErr)
			}
			r, _ := k.Report()
			if r.Hash != good.Hash() {
				t.Errorf("the valid document is no longer active: %+v", r)
			}
			if reported := r.Refused != ""; reported != tt.wantReported {
				t.Errorf("report = %+v; want refused: %v", r, tt.wantReported)
			}
		})
	}
}

// TestFloor: a new pod refuses and reports a document that is older than the policy's document when the pod was created.
func TestFloor(t *testing.T) {
	o := newOperator(t)
	tests := map[string]struct {
		floor, revision int64
		deleted         bool
		wantErr         error
	}{
		"none":                       {revision: 1},
		"older":                      {floor: 50, revision: 49, wantErr: errBelowFloor},
		"an older tombstone":         {floor: 50, revision: 49, deleted: true, wantErr: errBelowFloor},
		"the same":                   {floor: 50, revision: 50},
		"newer":                      {floor: 50, revision: 51},
		"the policy was deleted":     {floor: 50, revision: 51, deleted: true},
		"injected before a document": {floor: 0, revision: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			applied := false
			k := o.keeper(func(context.Context, *compiled.Policy, string) error { applied = true; return nil })
			k.cfg.Floor = tt.floor
			s := o.sign(t, func(p *compiled.Policy) { p.Revision, p.Deleted = tt.revision, tt.deleted })
			if err := k.Offer(t.Context(), s); !errors.Is(err, tt.wantErr) {
				t.Fatalf("error = %v; want %v", err, tt.wantErr)
			}
			r, _ := k.Report()
			if applied != (tt.wantErr == nil) || (r.Hash == s.Hash()) != applied {
				t.Errorf("applied: %t, report = %+v", applied, r)
			}
			if refused := r.Refused == s.Hash() && strings.Contains(r.Error, "at least 50"); refused != (tt.wantErr != nil) {
				t.Errorf("report = %+v", r)
			}
		})
	}
}

// TestNewerDocumentAfterFloor: a sidecar without a document accepts the next one that is new enough.
func TestNewerDocumentAfterFloor(t *testing.T) {
	o := newOperator(t)
	k := o.keeper(nil)
	k.cfg.Floor = 50
	if err := k.Offer(t.Context(), o.sign(t, revision(49))); !errors.Is(err, errBelowFloor) {
		t.Fatal(err)
	}
	next := o.sign(t, revision(60))
	if err := k.Offer(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if r, _ := k.Report(); r.Hash != next.Hash() || r.Refused != "" || r.Error != "" {
		t.Errorf("report = %+v", r)
	}
}

func TestRefusedDocumentIsReportedUntilAValidOne(t *testing.T) {
	o := newOperator(t)
	refuse := true
	k := o.keeper(func(context.Context, *compiled.Policy, string) error {
		if refuse {
			return errors.New("no such file: " + strings.Repeat("x", 2000))
		}
		return nil
	})
	s := o.sign(t, nil)
	_, changed := k.Report()
	if err := k.Offer(t.Context(), s); err == nil {
		t.Fatal("a document that cannot be applied was accepted")
	}
	<-changed
	r, _ := k.Report()
	if r.Refused != s.Hash() || !strings.HasPrefix(r.Error, "no such file") || len(r.Error) > maxErrorText || r.Hash != "" {
		t.Errorf("report = %+v", r)
	}
	refuse = false
	if err := k.Offer(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if r, _ := k.Report(); r.Hash != s.Hash() || r.Refused != "" || r.Error != "" {
		t.Errorf("report = %+v", r)
	}
}

func TestReachableChangesTheReportOnce(t *testing.T) {
	k := newOperator(t).keeper(nil)
	_, changed := k.Report()
	k.SetUnredirected(false) // changes nothing
	k.SetReachable([]string{"0.0.0.0:9000"})
	<-changed
	r, changed := k.Report()
	if len(r.Reachable) != 1 {
		t.Errorf("report = %+v", r)
	}
	k.SetReachable([]string{"0.0.0.0:9000"})
	select {
	case <-changed:
		t.Error("the report signals a change although nothing changed")
	default:
	}
}

// TestExpiryChangesTheReportOnce: the same moment in another zone is no change.
func TestExpiryChangesTheReportOnce(t *testing.T) {
	k := newOperator(t).keeper(nil)
	at := time.Unix(1800000000, 0)
	_, changed := k.Report()
	k.SetCertificatesExpire(at)
	<-changed
	r, changed := k.Report()
	if !r.CertificatesExpire.Equal(at) {
		t.Errorf("report = %+v", r)
	}
	k.SetCertificatesExpire(at.In(time.FixedZone("", 3600)))
	select {
	case <-changed:
		t.Error("the report signals a change although nothing changed")
	default:
	}
}

// mount writes the files in the layout of a ConfigMap's volume.
func mount(t *testing.T, dir string, s compiled.Signed) {
	t.Helper()
	for name, content := range map[string]string{
		compiled.DocumentKey:  string(s.Document),
		compiled.SignatureKey: base64.StdEncoding.EncodeToString(s.Signature) + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func waitFor(t *testing.T, k *Keeper, what string, done func(compiled.Report) bool) {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		r, changed := k.Report()
		if done(r) {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%s: never; the report is %+v", what, r)
		}
	}
}

func TestMounted(t *testing.T) {
	o := newOperator(t)
	k := o.keeper(nil)
	dir := t.TempDir()
	go Mounted{Dir: dir, Interval: time.Millisecond, Keeper: k, Logger: slog.New(slog.DiscardHandler)}.Run(t.Context())

	first, second := o.sign(t, nil), o.sign(t, revision(20))
	mount(t, dir, first)
	waitFor(t, k, "the first document", func(r compiled.Report) bool { return r.Hash == first.Hash() })
	if err := os.WriteFile(filepath.Join(dir, compiled.SignatureKey), []byte("%%%"), 0o600); err != nil {
		t.Fatal(err)
	}
	mount(t, dir, second)
	waitFor(t, k, "the second document", func(r compiled.Report) bool { return r.Hash == second.Hash() })
	mount(t, dir, first) // an older document changes nothing
	third := o.sign(t, revision(30))
	mount(t, dir, third)
	waitFor(t, k, "the third document", func(r compiled.Report) bool { return r.Hash == third.Hash() })
}

func TestMountedRetriesARefusedDocument(t *testing.T) {
	o := newOperator(t)
	tries := 0
	k := o.keeper(func(context.Context, *compiled.Policy, string) error {
		if tries++; tries < 3 {
			return errors.New("the Secret is not mounted yet")
		}
		return nil
	})
	dir, s := t.TempDir(), o.sign(t, nil)
	mount(t, dir, s)
	go Mounted{Dir: dir, Interval: time.Millisecond, Keeper: k, Logger: slog.New(slog.DiscardHandler)}.Run(t.Context())
	waitFor(t, k, "the document", func(r compiled.Report) bool { return r.Hash == s.Hash() && r.Error == "" })
}

func TestReadDirBoundsWhatItReads(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, compiled.Signed{Document: make([]byte, 2*compiled.MaxSize)})
	s, err := ReadDir(dir)
	if err != nil || len(s.Document) != compiled.MaxSize+1 {
		t.Fatalf("%d bytes, %v", len(s.Document), err)
	}
	if _, err := s.Open(newOperator(t).public); !errors.Is(err, compiled.ErrSignature) {
		t.Errorf("error = %v", err)
	}
}

// TestReadDirReadsTheNewestVersion: the directory may also contain the documents of older sidecars.
func TestReadDirReadsTheNewestVersion(t *testing.T) {
	o := newOperator(t)
	v1 := o.sign(t, nil)
	v2 := o.sign(t, func(p *compiled.Policy) { p.SchemaVersion = 2 })
	dir := t.TempDir()
	mount(t, dir, v1)
	for reads, want := range map[int]compiled.Signed{1: v1, 2: v1, 3: v1} {
		if got, err := readVersion(dir, reads); err != nil || got.Hash() != want.Hash() {
			t.Errorf("with one document, a build that supports version %d reads %s, %v", reads, got.Document, err)
		}
	}
	document, signature := compiled.DocumentKeys(2)
	for name, content := range map[string][]byte{document: v2.Document, signature: []byte(base64.StdEncoding.EncodeToString(v2.Signature))} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for reads, want := range map[int]compiled.Signed{1: v1, 2: v2, 3: v2} {
		if got, err := readVersion(dir, reads); err != nil || got.Hash() != want.Hash() {
			t.Errorf("with two documents, a build that supports version %d reads %s, %v", reads, got.Document, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, signature)); err != nil {
		t.Fatal(err)
	}
	if got, err := readVersion(dir, 2); err == nil {
		t.Errorf("a document without its signature falls back to %s", got.Document)
	}
}
