package main

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// layer writes the tar stream of an image layer. It keeps the first error, and close returns it. It skips a path that was already
// written. It writes no times and no user names, so that the same content gives the same bytes.
type layer struct {
	tar  *tar.Writer
	seen map[string]bool
	err  error
}

func newLayer(w io.Writer) *layer {
	return &layer{tar: tar.NewWriter(w), seen: map[string]bool{"/": true}}
}

// dir adds a folder that is owned by the user and group id.
func (l *layer) dir(name string, id int) {
	if l.seen[name] {
		return
	}
	l.parents(name)
	l.seen[name] = true
	l.header(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, Uid: id, Gid: id})
}

// text adds a file with this content that everyone can read.
func (l *layer) text(name, content string) { l.file(name, 0o644, []byte(content)) }

// copy adds a file of the machine with its permissions, except set-id bits. It follows links.
func (l *layer) copy(name, source string) {
	if l.err != nil || l.seen[name] {
		return
	}
	info, err := os.Stat(source)
	if err != nil {
		l.err = fmt.Errorf("reading file information: %w", err)
		return
	}
	content, err := os.ReadFile(source)
	if err != nil {
		l.err = fmt.Errorf("reading file: %w", err)
		return
	}
	l.file(name, info.Mode().Perm(), content)
}

// close ends the stream and returns the first error.
func (l *layer) close() error {
	if l.err != nil {
		return l.err
	}
	return l.tar.Close()
}

func (l *layer) file(name string, mode fs.FileMode, content []byte) {
	if l.err != nil || l.seen[name] {
		return
	}
	l.parents(name)
	l.seen[name] = true
	l.header(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(mode | 0o444), Size: int64(len(content))})
	if l.err == nil {
		_, l.err = l.tar.Write(content)
	}
}

// parents adds the parent folders of name, owned by root.
func (l *layer) parents(name string) {
	if parent := path.Dir(name); !l.seen[parent] {
		l.dir(parent, 0)
	}
}

func (l *layer) header(h *tar.Header) {
	if l.err != nil {
		return
	}
	h.Name = strings.TrimPrefix(h.Name, "/")
	h.Format = tar.FormatPAX
	if err := l.tar.WriteHeader(h); err != nil {
		l.err = fmt.Errorf("adding %s to layer: %w", h.Name, err)
	}
}
