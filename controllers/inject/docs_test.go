package inject

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestRefusalsAreExplained: each refusal of a pod has a row in docs/troubleshooting.md with a phrase of its message.
func TestRefusalsAreExplained(t *testing.T) {
	page, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Pods are not created\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var phrases []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(section, -1) {
		if strings.Contains(m[1], " ") {
			phrases = append(phrases, m[1])
		}
	}
	messages := refusals(t)
	if len(messages) < 10 {
		t.Fatalf("found %d refusals only", len(messages))
	}
	for _, message := range messages {
		if !anyIn(phrases, message) {
			t.Errorf("docs/troubleshooting.md has no row for %q", message)
		}
	}
}

func anyIn(phrases []string, message string) bool {
	for _, phrase := range phrases {
		parts := strings.Split(phrase, "…")
		for i, part := range parts {
			parts[i] = regexp.QuoteMeta(strings.TrimSpace(part))
		}
		if regexp.MustCompile(strings.Join(parts, ".*")).MatchString(message) {
			return true
		}
	}
	return false
}

// refusals returns the formats of all refusals, with their verbs.
func refusals(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "refusef" {
					if text := constant(call.Args[0]); text != "%v" && !strings.HasPrefix(text, "policy %q selects") { // the frame of all messages
						out = append(out, text)
					}
				}
			}
			return true
		})
	}
	return out
}

// constant returns the text of a string literal, or of several that + joins.
func constant(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(e.Value)
		return text
	case *ast.BinaryExpr:
		return constant(e.X) + constant(e.Y)
	}
	return ""
}
