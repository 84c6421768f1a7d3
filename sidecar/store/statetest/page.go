// Package statetest compares the stores in Redis with docs/state.md. It reads the page's tables and ACL lines. The test of a
// store runs as the user that the page describes, and Check compares the keys left in Redis with the page's rows.
package statetest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Users of the page's ACL lines.
const (
	// Namespace is the user for the sidecars of one namespace. The page calls it "shop".
	Namespace = "postern-shop"
	// All is the user for the sidecars of all namespaces.
	All = "postern"
	// AuditWriter is the user for the writers of the audit trail.
	AuditWriter = "postern-audit"
	// Sentinels is the user for sidecars at the sentinels.
	Sentinels = "default"
)

// Page is docs/state.md.
type Page struct {
	// Rows are the keys, in the page's order.
	Rows []Row
	// General are the commands that have no key, in upper case.
	General []string
	// users maps a user name to the rules of its ACL line.
	users map[string][]string
}

// Row is one kind of key.
type Row struct {
	// Name is the first cell of the row. Key is its pattern; the page explains patterns.
	Name, Key string
	Type      string
	// Owner is the package that writes the key, as a path in the module.
	Owner string
	// TTL lists expressions. The key lives at most as long as the longest of them; see Bounds.
	TTL []string
	// Bytes is MEMORY USAGE for each unit that the cell names.
	Bytes int
	// Commands are the commands that the owner uses on the key, in upper case.
	Commands []string
}

// Read reads docs/state.md of the module that contains the test.
func Read(tb testing.TB) *Page {
	tb.Helper()
	content, err := os.ReadFile(filepath.Join(Root(tb), "docs", "state.md"))
	if err != nil {
		tb.Fatal(err)
	}
	return parse(tb, string(content))
}

// Root returns the root folder of the module.
func Root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return dir
		}
	}
	tb.Fatalf("no go.mod in any folder above: %v", err)
	return ""
}

var code = regexp.MustCompile("`([^`]+)`")

func parse(tb testing.TB, content string) *Page {
	tb.Helper()
	p := &Page{users: map[string][]string{}}
	for line := range strings.Lines(content) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "user "):
			fields := strings.Fields(line)
			p.users[fields[1]] = fields[2:]
		case strings.HasPrefix(line, "| ") && strings.Contains(line, "`"):
			p.addRow(tb, strings.Split(strings.Trim(line, "| "), " | "))
		}
	}
	if len(p.Rows) == 0 || len(p.General) == 0 || len(p.users) != 4 {
		tb.Fatalf("docs/state.md has %d keys, %d general commands and %d users; its format has changed", len(p.Rows), len(p.General), len(p.users))
	}
	return p
}

// addRow adds a row of the table of keys, which has seven cells, or of the table of general commands, which has two.
func (p *Page) addRow(tb testing.TB, cells []string) {
	tb.Helper()
	switch len(cells) {
	case 2:
		p.General = append(p.General, codes(cells[0])...)
	case 7:
		size := codes(cells[5])
		bytes, err := strconv.Atoi(strings.Join(size, " "))
		if err != nil {
			tb.Fatalf("docs/state.md: the size of %q: %v", cells[0], err)
		}
		p.Rows = append(p.Rows, Row{
			Name: cells[0], Key: codes(cells[1])[0], Type: cells[2], Owner: codes(cells[3])[0],
			TTL: codes(cells[4]), Bytes: bytes, Commands: codes(cells[6]),
		})
	default:
		tb.Fatalf("docs/state.md: a row has %d cells: %q", len(cells), cells)
	}
}

// codes returns the code spans of a cell.
func codes(cell string) (spans []string) {
	for _, found := range code.FindAllStringSubmatch(cell, -1) {
		spans = append(spans, found[1])
	}
	return spans
}

// Owned returns the rows of owner.
func (p *Page) Owned(owner string) (rows []Row) {
	for _, r := range p.Rows {
		if r.Owner == owner {
			rows = append(rows, r)
		}
	}
	return rows
}

// auditWriter is the owner of the rows of AuditWriter. The others are rows of sidecars.
const auditWriter = "sidecar/audit/drain"

// Commands returns all commands of the page for user, sorted and without duplicates.
func (p *Page) Commands(user string) []string {
	all := slices.Clone(p.General)
	for _, r := range p.Rows {
		if (r.Owner == auditWriter) == (user == AuditWriter) {
			all = append(all, r.Commands...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Rules returns the rules of a user's ACL line.
func (p *Page) Rules(user string) []string { return slices.Clone(p.users[user]) }
