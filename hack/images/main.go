// Command images builds the container images of Postern, its sample app and the local cluster without a container
// engine and without a registry. An image has static binaries in one layer, no base image, and an unprivileged user.
//
//	go run ./hack/images -tag dev -out DIR operator sidecar sample-app
//
// For each image it writes DIR/NAME.tar, in the format that `docker load`, `kind load image-archive`, `podman load` and
// hack/cluster/load-image.sh read, and prints the image's reference, a tab, and the file. The output is deterministic, so
// an unchanged file need not be loaded again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintf(os.Stderr, "images: %v\n", err)
		os.Exit(1)
	}
}

// run builds the images in args.
func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	tag := flags.String("tag", "dev", "tag of the images")
	out := flags.String("out", "dist/images", "folder to write the image files to")
	repository := flags.String("repository", "docker.io/postern", "prefix of an image's name in its reference")
	prebuilt := flags.String("prebuilt", "", "folder with binaries of hack/cluster/build.sh (coredns, vault)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	specs, err := choose(table(*prebuilt), flags.Args())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return fmt.Errorf("creating output folder: %w", err)
	}
	for _, s := range specs {
		ref := fmt.Sprintf("%s/%s:%s", *repository, s.name, *tag)
		path := filepath.Join(*out, s.name+".tar")
		if err := s.write(ctx, ref, path); err != nil {
			return fmt.Errorf("building image %s: %w", s.name, err)
		}
		fmt.Printf("%s\t%s\n", ref, path)
	}
	return nil
}

// choose returns the named images, in the order of the names.
func choose(all []spec, names []string) ([]spec, error) {
	byName := make(map[string]spec, len(all))
	known := make([]string, 0, len(all))
	for _, s := range all {
		byName[s.name] = s
		known = append(known, s.name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no image given: choose from %s", strings.Join(known, ", "))
	}
	var chosen []spec
	for _, name := range names {
		s, ok := byName[name]
		if !ok {
			return nil, fmt.Errorf("unknown image %q: choose from %s", name, strings.Join(known, ", "))
		}
		chosen = append(chosen, s)
	}
	return chosen, nil
}
