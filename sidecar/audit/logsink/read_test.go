package logsink_test

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/logsink"
	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/audit/spool"
	"github.com/posterndev/postern/sidecar/audit/verify"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

var private = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

// writer writes records and checkpoints as a sidecar does.
type writer struct {
	t     testing.TB
	chain *hashchain.Chain
}

func newWriter(t testing.TB) *writer {
	return &writer{t, hashchain.New(uuid.Must(uuid.NewV7()))}
}

// items returns the next n records, and a checkpoint.
func (w *writer) items(n int) (items []spool.Item) {
	w.t.Helper()
	for range n {
		encoded, _, err := w.chain.Append(&record.Record{Version: 1, ID: uuid.Must(uuid.NewV7()), Time: record.At(time.Unix(1_800_000_000, 0)), Category: record.Session, Action: "logout", Outcome: event.Success, Policy: "shop/orders"})
		if err != nil {
			w.t.Fatal(err)
		}
		items = append(items, spool.Item{Kind: spool.Record, Payload: encoded})
	}
	signer, err := hashchain.NewSigner(private)
	if err != nil {
		w.t.Fatal(err)
	}
	signed, err := w.chain.Checkpoint("shop/orders").Sign(signer)
	if err != nil {
		w.t.Fatal(err)
	}
	return append(items, spool.Item{Kind: spool.Checkpoint, Payload: signed})
}

// verified verifies lines, and returns the findings.
func verified(t testing.TB, in io.Reader, partial bool) (found []string, s verify.Summary, o logsink.Others) {
	t.Helper()
	keys, err := hashchain.Verifiers(hashchain.VerifierKey(private.Public().(ed25519.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	v := verify.New(verify.Config{Keys: keys, Partial: partial, OnFinding: func(f verify.Finding) { found = append(found, fmt.Sprintf("%s %d-%d", f.Kind, f.First, f.Last)) }})
	o, err = logsink.Read(in, func(e logsink.Entry) error {
		switch {
		case e.Cut != nil:
			v.Cut(*e.Cut)
		case e.Kind == spool.Checkpoint:
			v.Checkpoint(e.Payload)
		default:
			v.Record(e.Payload, record.Hash{})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found, v.Finish(), o
}

// noise are other lines of a sidecar's standard output.
const noise = `{"time":"2026-11-29T08:00:00Z","level":"INFO","msg":"request","method":"GET","path":"/orders","status":200}
{"level":"INFO","msg":"listening","writer":"none"}
panic: not JSON

`

// output is the standard output of three sidecars, in a collector that keeps it in one place: mixed with other lines, and with two batches that
// were written twice.
func output(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	sink, writers := logsink.New(&b, time.Now), []*writer{newWriter(t), newWriter(t), newWriter(t)}
	for round := range 10 {
		for _, w := range writers {
			items := w.items(7)
			again := 1
			if round%5 == 3 {
				again = 2
			}
			for range again {
				if _, err := sink.Deliver(t.Context(), items); err != nil {
					t.Fatal(err)
				}
				b.WriteString(noise)
			}
		}
	}
	return b.String()
}

// TestLogOfSidecars verifies what a log collector has kept, and what is left of it after a rotation.
func TestLogOfSidecars(t *testing.T) {
	all := output(t)
	lines := strings.SplitAfter(all, "\n")
	audit := func(l string) bool { return strings.Contains(l, `"seq":40,`) }
	for name, tt := range map[string]struct {
		text     string
		partial  bool
		want     []string
		unsigned uint64
		before   uint64
		cut      bool
	}{
		"all of it":             {text: all},
		"two files":             {text: strings.Join(lines[:100], "") + strings.Join(lines[100:], "")},
		"Windows line ends":     {text: strings.ReplaceAll(all, "\n", "\r\n")},
		"no line end":           {text: strings.TrimSuffix(all, noise)[:len(strings.TrimSuffix(all, noise))-1]},
		"rotated":               {text: strings.Join(lines[100:], ""), want: []string{"missing 1-18", "missing 1-21", "missing 1-21"}},
		"rotated, partial":      {text: strings.Join(lines[100:], ""), partial: true, before: 18 + 21 + 21},
		"rotated, a record cut": {text: strings.Join(slices.DeleteFunc(slices.Clone(lines[100:]), audit), ""), partial: true, want: []string{"missing 40-40", "missing 40-40", "missing 40-40"}, before: 18 + 21 + 21},
		"rotated, the last of a checkpoint changed": {text: strings.Replace(strings.Join(lines[100:], ""), `"seq":42,`, `"seq":42,"x":1,`, 1), partial: true,
			want: []string{"forged 36-42", "changed 42-42"}, before: 18 + 21 + 21, unsigned: 70 - 35},
		"cut in a line":           {text: all[:strings.LastIndex(all, `"seq":69,`)], cut: true, unsigned: 5},
		"cut between lines":       {text: all[:strings.LastIndex(all, "\n{\"time\":\"20")+1], unsigned: 0},
		"a record that is longer": {text: all + `{"audit":"` + strings.Repeat("x", 5*record.MaxSize) + `"}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			found, s, o := verified(t, strings.NewReader(tt.text), tt.partial)
			slices.Sort(found)
			slices.Sort(tt.want)
			if !slices.Equal(found, tt.want) || s.Unsigned != tt.unsigned || s.Before != tt.before || o.Incomplete != tt.cut || s.Writers != 3 {
				t.Errorf("found %q, %+v, %+v; want %q", found, s, o, tt.want)
			}
		})
	}
	if found, s, o := verified(t, strings.NewReader(all), false); s.Records != 3*84 || s.Repeated != 3*14 || s.Checkpoints != 3*12 || o.Lines != 3*36 {
		t.Errorf("%q, %+v, %+v", found, s, o)
	}
}

// TestManyRecords: a million records of five thousand writers, mixed, need no more memory than a part of them.
func TestManyRecords(t *testing.T) {
	const writers, each, bound = 5_000, 200, 32 << 20
	in, out := io.Pipe()
	go func() {
		b := bufio.NewWriterSize(out, 1<<20)
		last := make([]record.Hash, writers)
		ids := make([]uuid.UUID, writers)
		for seq := 1; seq <= each; seq++ {
			for w := range writers {
				if seq == 1 {
					ids[w] = uuid.Must(uuid.NewV7())
				}
				line := fmt.Appendf(nil, `{"version":1,"id":"%s","writer":"%s","seq":%d`, uuid.UUID{0: 1, 10: byte(w), 11: byte(w >> 8), 12: byte(seq)}, ids[w], seq)
				if seq > 1 {
					line = fmt.Appendf(line, `,"prev":"%s"`, last[w])
				}
				line = append(line, `,"time":"2026-11-29T08:00:00.000000Z","category":"Session","action":"logout","outcome":"success","policy":"shop/orders"}`...)
				last[w] = hashchain.HashOf(line)
				if _, err := b.Write(append(line, '\n')); err != nil {
					return
				}
			}
		}
		out.CloseWithError(errors.Join(b.Flush(), io.EOF))
	}()
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, n := heap(), 0
	v := verify.New(verify.Config{OnFinding: func(f verify.Finding) { t.Error(f) }})
	_, err := logsink.Read(in, func(e logsink.Entry) error {
		v.Record(e.Payload, record.Hash{})
		if n++; n%200_000 == 0 {
			grown := heap() - before
			t.Logf("%d records: %d KiB", n, grown>>10)
			if grown > bound {
				return fmt.Errorf("after %d records there are %d bytes more in memory; want at most %d", n, grown, bound)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := v.Finish(); s.Records != writers*each || s.Writers != writers || s.Findings > 0 {
		t.Errorf("%+v", s)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"audit":{"version":1}}` + "\n" + `{"checkpoint":"a\n1\n"}` + "\n" + `{"cut":{"writer":"01934567-89ab-7def-8123-456789abcdef","size":3,"state":"AA==","time":"2026-01-01T00:00:00Z"}}`))
	f.Fuzz(func(t *testing.T, lines []byte) { _, _, _ = verified(t, bytes.NewReader(lines), len(lines)%2 == 0) })
}
