package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const migratePage = "../../docs/migrate.md"

// TestMigratePageIsValid lints each piece of YAML of the page, as the spec of a policy.
func TestMigratePageIsValid(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(content(t, migratePage), -1)
	if len(blocks) < 5 {
		t.Fatalf("found %d pieces of YAML", len(blocks))
	}
	for _, block := range blocks {
		policy := "apiVersion: postern.dev/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: shop, namespace: shop}\nspec:\n  selector: {}\n" +
			regexp.MustCompile(`(?m)^`).ReplaceAllString(strings.TrimSpace(block[1]), "  ") + "\n"
		if out, _, err := run(t, policy, "lint", "-f", "-"); err != nil {
			t.Errorf("%v\n%s\n%s", err, out, policy)
		}
	}
}

// TestMigratePageNamesKnownVariables: init knows every variable that the page says it carries over, or does not.
func TestMigratePageNamesKnownVariables(t *testing.T) {
	page := content(t, migratePage)
	start, end := strings.Index(page, "## Which variable"), strings.Index(page, "## The plan")
	if start < 0 || end < start {
		t.Fatal("the sections are not on the page")
	}
	seen := map[string]bool{}
	settings := filepath.Join(t.TempDir(), ".env")
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]*) \|`).FindAllStringSubmatch(page[start:end], -1) {
		for _, name := range regexp.MustCompile("`([A-Z][A-Z_]+|[a-z]+[.][a-z.-]+)(=[^`]*)?`").FindAllStringSubmatch(row[1], -1) {
			seen[name[1]] = true
			if err := os.WriteFile(settings, []byte(name[1]+"=1\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, report := initialized(t, settings); strings.Contains(report, "left to the app: "+name[1]) {
				t.Errorf("init does not know %s", name[1])
			}
		}
	}
	if len(seen) < 30 {
		t.Errorf("found %d variables only", len(seen))
	}
}
