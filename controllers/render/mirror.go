package render

import (
	"fmt"
	"strings"
)

// RunsImage reports whether a container with this image runs the sidecar: it is the class's image, or the same repository and tag or
// digest at one of the mirrors in the settings. A webhook that rewrites images to a mirror may put the mirror in place of the registry,
// or in front of the whole reference.
func (s Sidecar) RunsImage(image string) bool {
	want := s.image()
	if image == want {
		return true
	}
	registry, repository := splitImage(want)
	for _, mirror := range s.Settings.ImageMirrors {
		if image == mirror+"/"+repository || image == mirror+"/"+registry+"/"+repository {
			return true
		}
	}
	return false
}

// splitImage splits a reference into its registry and the rest. Without a registry it is docker.io.
func splitImage(image string) (registry, rest string) {
	first, after, ok := strings.Cut(image, "/")
	if ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return first, after
	}
	return "docker.io", image
}

// ParseImageMirrors parses a comma-separated list of mirrors, each a registry with an optional path, such as registry.example/cache.
func ParseImageMirrors(list string) ([]string, error) {
	var mirrors []string
	for mirror := range strings.SplitSeq(list, ",") {
		mirror = strings.TrimSpace(mirror)
		if mirror == "" {
			continue
		}
		host, _, _ := strings.Cut(mirror, "/")
		if strings.Contains(mirror, "://") || strings.ContainsAny(mirror, " @*") || strings.HasSuffix(mirror, "/") || strings.Contains(mirror, "//") ||
			!strings.ContainsAny(host, ".:") && host != "localhost" {
			return nil, fmt.Errorf("image mirror %q is not a registry with an optional path: write for example registry.example/cache", mirror)
		}
		mirrors = append(mirrors, mirror)
	}
	return mirrors, nil
}
