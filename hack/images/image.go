package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// rootsFile is where Debian keeps the certificate authorities, and where Go programs look for them.
const rootsFile = "/etc/ssl/certs/ca-certificates.crt"

// user is the id of the user and the group that images run as: the "nonroot" of distroless images.
const user = 65532

// write builds the image with the reference ref and writes it to the file at path atomically.
func (s spec) write(ctx context.Context, ref, path string) error {
	tag, err := name.NewTag(ref, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("reading reference %q: %w", ref, err)
	}
	img, err := s.image(ctx)
	if err != nil {
		return err
	}
	aside := path + ".part"
	defer os.Remove(aside) //nolint:errcheck // it exists only if writing failed
	if err := tarball.WriteToFile(aside, tag, img); err != nil {
		return fmt.Errorf("writing %s: %w", aside, err)
	}
	if err := os.Rename(aside, path); err != nil {
		return fmt.Errorf("naming image file: %w", err)
	}
	return nil
}

// image returns the image with one layer. The layer is not compressed, because the image stays on this machine.
func (s spec) image(ctx context.Context) (v1.Image, error) {
	var content bytes.Buffer
	if err := s.fill(ctx, newLayer(&content)); err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, static.NewLayer(content.Bytes(), types.DockerUncompressedLayer))
	if err != nil {
		return nil, fmt.Errorf("adding layer: %w", err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading image configuration: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config = v1.Config{
		User:       fmt.Sprintf("%d:%d", user, user),
		Entrypoint: []string{s.entrypoint},
		Env:        []string{"PATH=/usr/bin:/"},
		WorkingDir: "/",
	}
	return mutate.ConfigFile(img, file)
}

// fill writes all files of the image to l.
func (s spec) fill(ctx context.Context, l *layer) error {
	l.text("/etc/passwd", fmt.Sprintf("root:x:0:0:root:/:/none\nnonroot:x:%d:%d:nonroot:/:/none\n", user, user))
	l.text("/etc/group", fmt.Sprintf("root:x:0:\nnonroot:x:%d:\n", user))
	for _, dir := range s.dirs {
		l.dir(dir, user)
	}
	if s.roots {
		l.copy(rootsFile, rootsFile)
	}
	if err := s.buildInto(ctx, l); err != nil {
		return err
	}
	for _, binary := range s.prebuilt {
		l.copy("/"+filepath.Base(binary), binary)
	}
	for _, program := range s.dynamic {
		libraries, err := sharedLibraries(ctx, program)
		if err != nil {
			return err
		}
		l.copy(program, program)
		for _, library := range libraries {
			l.copy(library, library)
		}
	}
	return l.close()
}
