package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	signednote "golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/logsink"
)

// outsider verifies an export with golang.org/x/mod alone, as somebody who does not trust Postern would. It is what docs/audit-verify.md
// describes.
type outsider struct {
	verifier signednote.Verifier
	hashes   map[string][]tlog.Hash // of the tree of each writer, as tlog stores them
	sizes    map[string]int64
	// signed are the notes of each writer, in order.
	signed map[string][]*signednote.Note
}

func (o *outsider) ReadHashes(writer string) tlog.HashReaderFunc {
	return func(indexes []int64) (list []tlog.Hash, err error) {
		for _, i := range indexes {
			list = append(list, o.hashes[writer][i])
		}
		return list, nil
	}
}

func (o *outsider) read(t *testing.T, line string) {
	t.Helper()
	var l struct{ Writer, Checkpoint string }
	if err := json.Unmarshal([]byte(line), &l); err != nil {
		t.Fatal(err)
	}
	if l.Checkpoint == "" {
		stored, err := tlog.StoredHashes(o.sizes[l.Writer], []byte(line), o.ReadHashes(l.Writer))
		if err != nil {
			t.Fatal(err)
		}
		o.hashes[l.Writer] = append(o.hashes[l.Writer], stored...)
		o.sizes[l.Writer]++
		return
	}
	n, err := signednote.Open([]byte(l.Checkpoint), signednote.VerifierList(o.verifier))
	if err != nil {
		t.Fatal(err)
	}
	writer, size, root := head(t, n)
	got, err := tlog.TreeHash(size, o.ReadHashes(writer))
	if err != nil || got != root {
		t.Errorf("the records of %s have the root %s, %v; the checkpoint has %s", writer, got, err, root)
	}
	o.signed[writer] = append(o.signed[writer], n)
}

// head returns the writer, the size and the root of a checkpoint.
func head(t *testing.T, n *signednote.Note) (writer string, size int64, root tlog.Hash) {
	t.Helper()
	lines := strings.Split(n.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if root, err = tlog.ParseHash(lines[2]); err != nil {
		t.Fatal(err)
	}
	return lines[0][strings.LastIndexByte(lines[0], '/')+1:], size, root
}

// TestOutsiders: the tools of others verify checkpoints against the records, witness that they are consistent and cosign them; and verify
// takes what a witness has kept.
func TestOutsiders(t *testing.T) {
	m := &months{t: t, chains: map[string]*hashchain.Chain{}}
	dir := t.TempDir()
	m.key = filepath.Join(dir, "key")
	m.write(m.key, []byte(masterKey))
	var trail strings.Builder
	for range 5 {
		for _, writer := range []string{"a", "b"} {
			if _, err := logsink.New(&trail, time.Now).Deliver(t.Context(), m.items(writer, time.Now(), 7, true)); err != nil {
				t.Fatal(err)
			}
		}
	}
	public, _, err := run(t, "", "audit", "public-key", "--key-file", m.key)
	if err != nil {
		t.Fatal(err)
	}
	exported, _, err := run(t, trail.String(), "audit", "export", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
	o := &outsider{hashes: map[string][]tlog.Hash{}, sizes: map[string]int64{}, signed: map[string][]*signednote.Note{}}
	if o.verifier, err = signednote.NewVerifier(strings.TrimSpace(public)); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(exported), "\n") {
		o.read(t, line)
	}
	secret, _, err := signednote.GenerateKey(nil, "witness.example")
	if err != nil {
		t.Fatal(err)
	}
	witness, err := signednote.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	var kept strings.Builder
	for writer, notes := range o.signed {
		last := notes[len(notes)-1]
		_, size, root := head(t, last)
		for _, earlier := range notes[:len(notes)-1] {
			_, old, oldRoot := head(t, earlier)
			proof, err := tlog.ProveTree(size, old, o.ReadHashes(writer))
			if err == nil {
				err = tlog.CheckTree(proof, size, root, old, oldRoot)
			}
			if err != nil {
				t.Errorf("the checkpoint of %d is not consistent with that of %d: %v", size, old, err)
			}
		}
		cosigned, err := signednote.Sign(last, witness)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.NewEncoder(&kept).Encode(map[string]string{"checkpoint": string(cosigned)}); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "kept")
	if err := os.WriteFile(file, []byte(kept.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(exported, "\n")
	args := []string{"audit", "verify", "-f", "-", "--public-key", strings.TrimSpace(public), "--checkpoints", file}
	if out, _, err := run(t, exported, args...); err != nil || !strings.Contains(out, "no fault found") {
		t.Errorf("%q, %v", out, err)
	}
	// The last batch and its checkpoints are cut off, which nothing in the trail itself shows.
	cut := strings.Join(lines[:len(lines)-17], "")
	if out, _, err := run(t, cut, args[:len(args)-2]...); err != nil {
		t.Errorf("without a witness: %q, %v", out, err)
	}
	if out, _, err := run(t, cut, args...); err == nil || strings.Count(out, "truncated: records 29 to 35 of writer ") != 2 {
		t.Errorf("with a witness: %q, %v", out, err)
	}
}
