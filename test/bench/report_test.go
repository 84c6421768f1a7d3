package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWriteDocs checks that tables that were not measured in this run stay as they are.
func TestWriteDocs(t *testing.T) {
	dir := t.TempDir()
	page := "# Page\n\n<!-- measured: old -->\n\nof an earlier run\n\n<!-- end -->\n\n<!-- measured: new -->\n\nNot measured yet.\n\n<!-- end -->\n"
	if err := os.WriteFile(filepath.Join(dir, "bench.md"), []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &bench{report: report{tables: map[string]string{"new": "| now |\n"}}}
	if err := b.writeDocs(dir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "bench.md"))
	if err != nil {
		t.Fatal(err)
	}
	want := "# Page\n\n<!-- measured: old -->\n\nof an earlier run\n\n<!-- end -->\n\n<!-- measured: new -->\n\n| now |\n\n<!-- end -->\n"
	if string(got) != want {
		t.Errorf("the page is:\n%s", got)
	}
	b.report.tables["nowhere"] = "| lost |\n"
	if err := b.writeDocs(dir); err == nil {
		t.Error("a table without a place is lost")
	}
}
