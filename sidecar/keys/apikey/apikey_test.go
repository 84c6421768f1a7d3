package apikey

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestKeyAsText: a key that is written in place of an id or a subject would be in logs, metrics and headers.
func TestKeyAsText(t *testing.T) {
	key, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for name, entry := range map[string]string{
		"id":      "- {id: " + key + ", subject: s, hash: '" + sum1 + "'}",
		"subject": "- {id: a, subject: " + key + ", hash: '" + sum1 + "'}",
		"claim":   "- {id: a, subject: s, claims: {x: [" + key + "]}, hash: '" + sum1 + "'}",
	} {
		if _, err := Parse([]byte(entry)); err == nil || strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeys(t *testing.T) {
	seen := map[string]bool{}
	for range 200 {
		key, err := New()
		if err != nil || Check(key) != nil || len(key) != keyLength || seen[key] {
			t.Fatalf("%q: %v", key, err)
		}
		seen[key] = true
		for i := range len(key) { // each single change is found
			other := byte('A')
			if key[i] == other {
				other = 'B'
			}
			if changed := key[:i] + string(other) + key[i+1:]; Check(changed) == nil {
				t.Errorf("%q is accepted in place of %q", changed, key)
			}
		}
	}
	if _, err := newKey(bytes.NewReader([]byte{1, 2, 3})); err == nil {
		t.Error("a key without enough random bytes")
	}
	if key, err := newKey(bytes.NewReader(append([]byte{255, 248}, make([]byte, 30)...))); err != nil || !strings.HasPrefix(key, "pstn_"+strings.Repeat("0", 30)) {
		t.Errorf("biased bytes are not skipped: %q, %v", key, err)
	}
}

const sum1 = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"

func TestParse(t *testing.T) {
	const ok = `id: ci, subject: 'svc:ci', hash: '` + sum1 + `'`
	tests := map[string]struct {
		file    string
		wantErr string
		wantLen int
	}{
		"empty":                {},
		"only a comment":       {file: "# none\n"},
		"null":                 {file: "null"},
		"an empty list":        {file: "[]"},
		"one":                  {file: "- {" + ok + "}", wantLen: 1},
		"all fields":           {file: "- {" + ok + ", scopes: [a, 'b:c'], claims: {a: [1, {b: true}]}, expires: 2027-01-31T00:00:00Z}", wantLen: 1},
		"an object":            {file: "keys: []", wantErr: "not a list"},
		"a text":               {file: "x", wantErr: "not a list"},
		"an entry as text":     {file: "- x", wantErr: "entry 1 (line 1): it is not an object"},
		"not YAML":             {file: "- {" + ok, wantErr: "not YAML"},
		"not UTF-8":            {file: "- \xff", wantErr: "UTF-8"},
		"two documents":        {file: "- {" + ok + "}\n---\n[]", wantErr: "second YAML document"},
		"unknown field":        {file: "- {" + ok + ", role: admin}", wantErr: "entry 1 (line 1): an unknown field in line 1; known are id"},
		"repeated field":       {file: "- {" + ok + ", id: b}", wantErr: "written twice"},
		"repeated id":          {file: "- {" + ok + "}\n- {" + strings.Replace(ok, "2c", "2d", 1) + "}", wantErr: `the id "ci" is used twice`},
		"repeated key":         {file: "- {" + ok + "}\n- {" + strings.Replace(ok, "ci", "cd", 1) + "}", wantErr: `also that of "ci"`},
		"alias":                {file: "- &a {" + ok + "}\n- *a", wantErr: "aliases"},
		"merge":                {file: "- {" + ok + ", claims: {<<: {a: 1}}}", wantErr: "not a text"},
		"no id":                {file: "- {subject: a, hash: '" + sum1 + "'}", wantErr: "id is not"},
		"an id with a space":   {file: "- {id: 'a b', subject: a, hash: '" + sum1 + "'}", wantErr: "id is not"},
		"a long id":            {file: "- {id: " + strings.Repeat("a", 64) + ", subject: a, hash: '" + sum1 + "'}", wantErr: "id is not"},
		"no subject":           {file: "- {id: a, hash: '" + sum1 + "'}", wantErr: "subject is not"},
		"a line in a subject":  {file: "- {id: a, subject: \"a\\nb\", hash: '" + sum1 + "'}", wantErr: "subject is not"},
		"no hash":              {file: "- {id: a, subject: a}", wantErr: "hash is not sha256:"},
		"a key for a hash":     {file: "- {id: a, subject: a, hash: pstn_secret}", wantErr: "hash is not sha256:"},
		"a short hash":         {file: "- {id: a, subject: a, hash: 'sha256:2c26'}", wantErr: "hash is not sha256:"},
		"not hexadecimal":      {file: "- {id: a, subject: a, hash: 'sha256:" + strings.Repeat("zz", 32) + "'}", wantErr: "hexadecimal digit"},
		"a scope with a space": {file: "- {" + ok + ", scopes: ['a b']}", wantErr: "scope 1"},
		"scopes as a text":     {file: "- {" + ok + ", scopes: a}", wantErr: "wrong type"},
		"a day":                {file: "- {" + ok + ", expires: 2027-01-31}", wantErr: "expires is not a time"},
		"claims as a list":     {file: "- {" + ok + ", claims: [a]}", wantErr: "claims is not an object"},
		"a reserved claim":     {file: "- {" + ok + ", claims: {sub: root}}", wantErr: "sub cannot be set here"},
		"a session":            {file: "- {" + ok + ", claims: {sid: a}}", wantErr: "sid cannot be set here"},
		"a repeated claim":     {file: "- {" + ok + ", claims: {a: 1, a: 2}}", wantErr: "twice"},
		"deep claims":          {file: "- {" + ok + ", claims: {a: " + strings.Repeat("[", 20) + strings.Repeat("]", 20) + "}}", wantErr: "deeper than"},
		"many claims":          {file: "- {" + ok + ", claims: {a: [" + strings.Repeat("1,", 300) + "]}}", wantErr: "more than"},
		"too large":            {file: strings.Repeat("#", MaxBytes+1), wantErr: "larger than"},
		"too many":             {file: strings.Repeat("- {}\n", MaxEntries+1), wantErr: "more than 10000 entries"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, err := Parse([]byte(tt.file))
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) || strings.Contains(err.Error(), "secret") {
					t.Errorf("error %v; want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || f.Len() != tt.wantLen {
				t.Errorf("%v, %v; want %d entries", f, err, tt.wantLen)
			}
		})
	}
}

// TestClaims: values are those that a token with the same claims would have.
func TestClaims(t *testing.T) {
	f, err := Parse([]byte("- {id: a, subject: s, hash: '" + sum1 + "', scopes: [x, y], claims: {n: 12, f: 1.5, b: true, z: null, t: gold, l: [1, a], o: {p: 2}, hex: 0x10, day: 2027-01-01}}"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"sub": "s", "scope": "x y", "n": json.Number("12"), "f": json.Number("1.5"), "b": true, "z": nil, "t": "gold", "l": []any{json.Number("1"), "a"},
		"o": map[string]any{"p": json.Number("2")}, "hex": "0x10", "day": "2027-01-01",
	}
	if got := f.Entries()[0].Claims; !reflect.DeepEqual(got, want) {
		t.Errorf("claims %#v; want %#v", got, want)
	}
}

func TestExpired(t *testing.T) {
	end := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	for at, want := range map[time.Time]bool{end.Add(-time.Nanosecond): false, end: true, end.Add(time.Hour): true} {
		if got := (&Entry{Expires: end}).Expired(at); got != want {
			t.Errorf("expired at %s: %v", at, got)
		}
	}
	if (&Entry{}).Expired(end) {
		t.Error("a key without an end expired")
	}
}

// TestManyKeys: a full file uses bounded memory, and each key is found.
func TestManyKeys(t *testing.T) {
	var b strings.Builder
	var some []string
	for i := range MaxEntries {
		key := fmt.Sprint("key", i)
		fmt.Fprintf(&b, "- {id: k%d,subject: s,hash: %s}\n", i, Hash(key))
		if i%1000 == 0 {
			some = append(some, key)
		}
	}
	if b.Len() > MaxBytes {
		t.Fatalf("the file has %d bytes", b.Len())
	}
	data := []byte(b.String())
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 16<<20 {
		t.Errorf("%d keys keep %d bytes", f.Len(), kept)
	} else {
		t.Logf("%d keys keep %d KiB; parsing allocated %d KiB", f.Len(), kept>>10, (after.TotalAlloc-before.TotalAlloc)>>10)
	}
	for _, key := range some {
		if f.Lookup(key) == nil {
			t.Errorf("%s is not found", key)
		}
	}
	if f.Lookup("key-1") != nil {
		t.Error("an unknown key is found")
	}
	runtime.KeepAlive(data)
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "[]", "- {id: a, subject: s, hash: '" + sum1 + "', claims: {a: [1]}}", "- &a [*a]", "? a\n: b", "- !!binary x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if (file == nil) == (err == nil) {
			t.Fatal("neither or both of file and error")
		}
		if err != nil {
			return
		}
		for _, e := range file.Entries() {
			if _, err := json.Marshal(e.Claims); err != nil || e.ID == "" || e.Subject == "" || file.Get(e) != e {
				t.Errorf("entry %+v: %v", e, err)
			}
		}
	})
}

func FuzzCheck(f *testing.F) {
	key, err := New()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(key)
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		if err := Check(text); err != nil && !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
	})
}
