package subject

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/store/statetest"
)

// TestEveryStoreIsOnThePage: docs/personal-data.md says of everything that docs/state.md says to be in Redis whether it is exported and erased, and of
// every table in PostgreSQL.
func TestEveryStoreIsOnThePage(t *testing.T) {
	t.Parallel()
	root := filepath.Join(statetest.Root(t), "docs")
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	var stored []string
	for _, row := range statetest.Read(t).Rows {
		stored = append(stored, row.Name)
	}
	tables := firstCells(section(t, read("audit-database.md"), "## Tables"))
	for heading, want := range map[string][]string{"### In Redis": stored, "### In PostgreSQL": tables} {
		got := firstCells(section(t, read("personal-data.md"), heading))
		slices.Sort(got)
		slices.Sort(want)
		if len(want) < 5 || !slices.Equal(got, want) {
			t.Errorf("%s has\n%s\nwant\n%s", heading, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// section returns the text between a heading and the next one.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	_, after, ok := strings.Cut(page, "\n"+heading+"\n")
	if !ok {
		t.Fatalf("no heading %q", heading)
	}
	text, _, _ := strings.Cut(after, "\n## ")
	text, _, _ = strings.Cut(text, "\n### ")
	return text
}

// firstCells returns the first cells of a table's rows.
func firstCells(text string) (cells []string) {
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(text, -1) {
		if m[1] != "What" && m[1] != "Table" {
			cells = append(cells, m[1])
		}
	}
	return cells
}
