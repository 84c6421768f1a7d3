// Package docpage compares the outputs that docs/operating.md shows with what the commands print. It is for tests.
package docpage

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the outputs into the page")

// path is that of the page, from the folder of a package beside this one.
const path = "../../../../docs/operating.md"

// Compare compares the output that the page shows for a command line with the output of the command.
func Compare(t *testing.T, command, got string) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), "```\n$ "+command+"\n")
	if !ok {
		t.Fatalf("the page does not show the output of %s", command)
	}
	shown, after, ok := strings.Cut(rest, "```")
	switch {
	case !ok:
		t.Fatalf("the output of %s does not end", command)
	case shown == got:
	case *update:
		if err := os.WriteFile(path, []byte(before+"```\n$ "+command+"\n"+got+"```"+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the page shows\n%s\nthe command prints\n%s\nupdate the page with -update", shown, got)
	}
}
