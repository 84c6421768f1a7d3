package hashchain

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/posterndev/postern/sidecar/audit/record"
)

var writer = uuid.MustParse("01934567-89ab-7def-8123-456789abcdef")

func event(n byte) *record.Record {
	return &record.Record{Version: 1, ID: uuid.UUID{15: n}, Category: record.Authentication, Action: "login", Policy: "shop/orders"}
}

// TestTreeIsThatOfTheStandard compares the roots with those of another implementation of RFC 6962.
func TestTreeIsThatOfTheStandard(t *testing.T) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (list []tlog.Hash, err error) {
		for _, i := range indexes {
			list = append(list, stored[i])
		}
		return list, nil
	})
	var tree Tree
	for n := range int64(300) {
		want, err := tlog.TreeHash(n, reader)
		if n == 0 {
			want, err = tlog.Hash(emptyRoot), nil
		}
		if err != nil || tree.Root() != record.Hash(want) {
			t.Fatalf("the root of %d leaves is %s; want %s, %v", n, tree.Root(), want, err)
		}
		resumed, err := Resume(tree.Size(), tree.State())
		if err != nil || resumed.Root() != tree.Root() {
			t.Fatalf("the resumed tree of %d has the root %s, %v", n, resumed.Root(), err)
		}
		leaf := []byte{byte(n), byte(n >> 8)}
		hashes, err := tlog.StoredHashes(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		tree.Add(HashOf(leaf))
	}
	if _, err := Resume(3, make([]byte, 32)); err == nil {
		t.Error("a state of another size was resumed")
	}
}

func TestRecordsAreLinked(t *testing.T) {
	c := New(writer)
	var last record.Hash
	for n := range byte(5) {
		encoded, hash, err := c.Append(event(n + 1))
		if err != nil {
			t.Fatal(err)
		}
		r, err := record.Decode(encoded)
		if err != nil || r.Writer != writer || r.Seq != uint64(n)+1 || r.Prev != last || hash != HashOf(encoded) {
			t.Fatalf("%s, %v", encoded, err)
		}
		last = hash
	}
	large := event(9)
	large.Subject = strings.Repeat("x", record.MaxSize)
	if _, _, err := c.Append(large); err == nil || c.Size() != 5 {
		t.Errorf("after a record that is too large the chain has %d, %v", c.Size(), err)
	}
}

func keys(t *testing.T) (note.Signer, note.Verifiers) {
	t.Helper()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	signer, err := NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(VerifierKey(private.Public().(ed25519.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	return signer, note.VerifierList(verifier)
}

// TestCheckpointsAreSignedNotes: a tool for signed notes verifies and cosigns them.
func TestCheckpointsAreSignedNotes(t *testing.T) {
	signer, known := keys(t)
	c := New(writer)
	if _, _, err := c.Append(event(1)); err != nil {
		t.Fatal(err)
	}
	want := c.Checkpoint("shop/orders")
	want.Time, want.RetainDays = time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC), 400
	signed, err := want.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(signed), "postern.dev/audit/shop/orders/"+writer.String()+"\n1\n"+want.Root.String()+"\nlast "+want.Last.String()+"\ntime 2026-11-29T08:00:00Z\nretain 400d\n\n— postern.dev/audit ") {
		t.Errorf("the note is\n%s", signed)
	}
	n, err := note.Open(signed, known)
	if err != nil {
		t.Fatal(err)
	}
	secret, _, err := note.GenerateKey(nil, "witness.example")
	if err != nil {
		t.Fatal(err)
	}
	witness, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	cosigned, err := note.Sign(n, witness)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{signed, cosigned} {
		if got, err := Open(text, known); err != nil || got != want {
			t.Errorf("opened as %+v, %v", got, err)
		}
	}
	if got, err := Peek(signed); err != nil || got != want {
		t.Errorf("peeked as %+v, %v", got, err)
	}
	for name, broken := range map[string][]byte{
		"another size": bytes.Replace(signed, []byte("\n1\n"), []byte("\n2\n"), 1), "no signature": signed[:bytes.Index(signed, []byte("—"))],
		"nothing": nil, "too long": append(bytes.Clone(signed), bytes.Repeat([]byte("x"), MaxNote)...),
	} {
		if _, err := Open(broken, known); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
}

// TestExtensionLines: what a writer states beyond the size and the root is read exactly, and what others add is not read.
func TestExtensionLines(t *testing.T) {
	head := "postern.dev/audit/shop/orders/" + writer.String() + "\n1\n" + emptyRoot.String() + "\n"
	for lines, want := range map[string]bool{
		"": true, "other 1\n": true, "retain 400d\n": true, "retain 400\n": false, "retain 0400d\n": false, "retain 0d\n": false, "retain 36501d\n": false,
		"time 2026-11-29T08:00:00Z\n": true, "time 2026-11-29T09:00:00+01:00\n": false, "time today\n": false, "last AAAA\n": false, "last " + emptyRoot.String() + "\n": true,
	} {
		if c, err := parse(head + lines); (err == nil) != want {
			t.Errorf("%q: %+v, %v", lines, c, err)
		}
	}
	signed := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	due := signed.AddDate(0, 0, 35)
	for name, tt := range map[string]struct {
		c    Checkpoint
		now  time.Time
		want bool
	}{
		"due": {Checkpoint{Time: signed, RetainDays: 35}, due.Add(1), true}, "not yet": {Checkpoint{Time: signed, RetainDays: 35}, due, false},
		"no retention": {Checkpoint{Time: signed}, due.AddDate(99, 0, 0), false}, "no time": {Checkpoint{RetainDays: 35}, due, false},
	} {
		if got := tt.c.Due(tt.now); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func FuzzCheckpoint(f *testing.F) {
	f.Add("postern.dev/audit/shop/orders/" + writer.String() + "\n1\n" + emptyRoot.String() + "\n")
	f.Add("postern.dev/audit/shop/orders/" + writer.String() + "\n1\n" + emptyRoot.String() + "\ntime 2026-11-29T08:00:00Z\nretain 400d\nlast " + emptyRoot.String() + "\n")
	f.Add("postern.dev/audit///\n01\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parse(text)
		if err == nil && !strings.HasPrefix(text, originPrefix+c.Policy+"/") {
			t.Errorf("%q was parsed as %+v", text, c)
		}
		if err == nil {
			if again, err := parse(c.text()); err != nil || again != c {
				t.Errorf("%+v, %v; want %+v", again, err, c)
			}
		}
	})
}
