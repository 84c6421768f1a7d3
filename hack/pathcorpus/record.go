package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// record says for which targets each app serves the protected resource.
type record struct {
	// digest identifies the targets that were sent.
	digest string
	apps   []served
}

// served is what one app serves.
type served struct {
	// name has the version.
	name string
	// ignoresCase says that the app serves a path in any case.
	ignoresCase bool
	serves      map[string]bool
}

func digest(targets []string) string {
	sum := sha256.Sum256([]byte(strings.Join(targets, "\n")))
	return hex.EncodeToString(sum[:8])
}

// format writes a line for the digest, one for each app, and one with a leading tab for each target that the app serves.
func (r record) format() string {
	var b strings.Builder
	b.WriteString("# Written by go run ./hack/pathcorpus: for which targets real apps serve " + protected + ".\n")
	fmt.Fprintf(&b, "targets %s\n", r.digest)
	for _, a := range r.apps {
		b.WriteString("app " + a.name)
		if a.ignoresCase {
			b.WriteString(", ignoring case")
		}
		b.WriteByte('\n')
		var all []string
		for target := range a.serves {
			all = append(all, target)
		}
		slices.Sort(all)
		for _, target := range all {
			b.WriteString("\t" + target + "\n")
		}
	}
	return b.String()
}

func parse(text string) (r record, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		kind, rest, _ := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(line, "#"):
		case kind == "targets":
			r.digest = rest
		case kind == "app":
			name, ignores := strings.CutSuffix(rest, ", ignoring case")
			r.apps = append(r.apps, served{name: name, ignoresCase: ignores, serves: map[string]bool{}})
		case strings.HasPrefix(line, "\t") && len(r.apps) > 0:
			r.apps[len(r.apps)-1].serves[line[1:]] = true
		default:
			return record{}, fmt.Errorf("parsing record: line %q", line)
		}
	}
	return r, nil
}
