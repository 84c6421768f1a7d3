package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "coredns"), []byte("machine code"), 0o755); err != nil {
		t.Fatal(err)
	}
	specs, err := choose(table(dir), []string{"coredns"})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "coredns.tar")
	if err := specs[0].write(t.Context(), "docker.io/postern/coredns:test", path); err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/coredns"}) || config.OS != "linux" {
		t.Errorf("unexpected configuration: %+v", config)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestLicences: an image with our binaries has the licences of what is in them.
func TestLicences(t *testing.T) {
	t.Chdir("../..")
	var content bytes.Buffer
	s := spec{packages: []string{"./hack/cluster/pause"}}
	if err := s.fill(t.Context(), newLayer(&content)); err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(&content); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	for _, want := range []string{"pause", "licenses/LICENSE", "licenses/NOTICE"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s among %q", want, names)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, test := range map[string]struct {
		spec    spec
		ref     string
		wantErr string
	}{
		"a reference without a tag": {ref: "docker.io/postern/x", wantErr: "reading reference"},
		"a missing binary": {
			spec: spec{prebuilt: []string{filepath.Join(dir, "none")}}, ref: "docker.io/postern/x:1", wantErr: "no such file",
		},
		"a missing program": {
			spec: spec{dynamic: []string{filepath.Join(dir, "none")}}, ref: "docker.io/postern/x:1", wantErr: "listing libraries",
		},
		"a package that does not build": {
			spec: spec{packages: []string{"./none"}}, ref: "docker.io/postern/x:1", wantErr: "building",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "x.tar")
			err := test.spec.write(t.Context(), test.ref, path)
			if err == nil || !strings.Contains(err.Error(), test.wantErr) {
				t.Errorf("got %v, want %q", err, test.wantErr)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("a file appeared")
			}
		})
	}
}

func TestChooseRefuses(t *testing.T) {
	for name, names := range map[string][]string{"none named": nil, "one unknown": {"redis", "rediss"}} {
		t.Run(name, func(t *testing.T) {
			if _, err := choose(table(""), names); err == nil || !strings.Contains(err.Error(), "sample-app") {
				t.Errorf("got %v, want an error that lists the images", err)
			}
		})
	}
}
