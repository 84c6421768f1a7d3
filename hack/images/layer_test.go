package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestLayer(t *testing.T) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("machine code"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(program, 0o700|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	write := func() []byte {
		var content bytes.Buffer
		l := newLayer(&content)
		l.copy("/usr/bin/program", program)
		l.copy("/usr/bin/program", program)
		l.dir("/data", user)
		l.text("/usr/note", "hello")
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		return content.Bytes()
	}
	first := write()
	if !bytes.Equal(first, write()) {
		t.Error("the same input gave two different layers")
	}

	type entry struct {
		mode int64
		uid  int
	}
	want := map[string]entry{
		"usr/": {mode: 0o755}, "usr/bin/": {mode: 0o755}, "usr/bin/program": {mode: 0o744},
		"data/": {mode: 0o755, uid: user}, "usr/note": {mode: 0o644},
	}
	got := map[string]entry{}
	for reader := tar.NewReader(bytes.NewReader(first)); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := got[header.Name]; twice {
			t.Errorf("%s is there twice", header.Name)
		}
		got[header.Name] = entry{mode: header.Mode, uid: header.Uid}
	}
	for name, e := range want {
		if got[name] != e {
			t.Errorf("%s: got %+v, want %+v", name, got[name], e)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d entries, want %d: %v", len(got), len(want), got)
	}
}

func TestLayerKeepsFirstError(t *testing.T) {
	l := newLayer(io.Discard)
	l.copy("/missing", filepath.Join(t.TempDir(), "missing"))
	l.text("/later", "")
	if err := l.close(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that the file does not exist", err)
	}
}
