package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
)

// licences are files at the root of this module that go with its binaries.
var licences = []string{"LICENSE", "NOTICE"}

// buildInto builds the commands of this module for the image and adds them. It omits the version control stamp, because a
// commit alone must not change the image.
func (s spec) buildInto(ctx context.Context, l *layer) error {
	if len(s.packages) == 0 {
		return nil
	}
	dir, err := os.MkdirTemp("", "postern-image-")
	if err != nil {
		return fmt.Errorf("creating build folder: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", dir + "/"}, s.packages...)
	build := exec.CommandContext(ctx, "go", args...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building %v: %w\n%s", s.packages, err, output)
	}
	for _, p := range s.packages {
		l.copy("/"+path.Base(p), filepath.Join(dir, path.Base(p)))
	}
	for _, text := range licences {
		l.copy("/licenses/"+text, text)
	}
	return nil
}

// libraryPath matches the files in the output of ldd: "libm.so.6 => /lib/…/libm.so.6 (0x…)" and "/lib64/ld-linux-….so.2 (0x…)".
var libraryPath = regexp.MustCompile(`(?m)(/\S+) \(0x[0-9a-f]+\)$`)

// sharedLibraries returns the paths of the libraries and of the loader of a program of this machine.
func sharedLibraries(ctx context.Context, program string) ([]string, error) {
	output, err := exec.CommandContext(ctx, "ldd", program).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("listing libraries of %s: %w: %s", program, err, bytes.TrimSpace(output))
	}
	return parseLibraries(program, output)
}

// parseLibraries reads ldd's output.
func parseLibraries(program string, output []byte) ([]string, error) {
	if bytes.Contains(output, []byte("not found")) {
		return nil, fmt.Errorf("listing libraries of %s: some are missing: %s", program, output)
	}
	var libraries []string
	for _, match := range libraryPath.FindAllSubmatch(output, -1) {
		libraries = append(libraries, string(match[1]))
	}
	if len(libraries) == 0 {
		return nil, fmt.Errorf("listing libraries of %s: none in %q", program, output)
	}
	return libraries, nil
}
