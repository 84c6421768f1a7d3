// Command blocklist writes the list of common passwords that package passwordrules embeds, from the frequency list of a pinned
// module: sorted hashes of 5 bytes. Run it with go generate ./sidecar/keys/passwordrules.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/posterndev/postern/sidecar/keys/passwordrules"
)

// The source, which the Go checksum database verifies, and its hash.
const (
	source = "github.com/trustelem/zxcvbn@v1.0.1"
	sum    = "h1:mp4JFtzdDYGj9WYSD3KQSkwwUumWNFzXaAjckaTYpsc="
	file   = "data/passwords.txt"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "blocklist:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: blocklist OUTPUT")
	}
	out, err := exec.Command("go", "mod", "download", "-json", source).Output()
	if err != nil {
		return fmt.Errorf("downloading %s: %w", source, err)
	}
	var module struct{ Dir, Sum string }
	if err := json.Unmarshal(out, &module); err != nil {
		return fmt.Errorf("reading the description of %s: %w", source, err)
	}
	if module.Sum != sum {
		return fmt.Errorf("the hash of %s is %s; want %s", source, module.Sum, sum)
	}
	text, err := os.ReadFile(filepath.Join(module.Dir, file))
	if err != nil {
		return fmt.Errorf("reading the list: %w", err)
	}
	hashes := hashesOf(text)
	if err := os.WriteFile(args[0], bytes.Join(hashes, nil), 0o644); err != nil {
		return fmt.Errorf("writing the blocklist: %w", err)
	}
	return nil
}

// hashesOf returns the sorted, distinct hashes of the first word of each line.
func hashesOf(text []byte) [][]byte {
	var hashes [][]byte
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if word, _, _ := strings.Cut(lines.Text(), " "); word != "" {
			hash := passwordrules.CommonHash(passwordrules.Fold(word))
			hashes = append(hashes, hash[:])
		}
	}
	slices.SortFunc(hashes, bytes.Compare)
	return slices.CompactFunc(hashes, bytes.Equal)
}
