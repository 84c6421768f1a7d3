package main

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// TestProblemsAreListed checks that docs/problems.md lists exactly the codes that a sidecar can respond with.
func TestProblemsAreListed(t *testing.T) {
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\|").FindAllStringSubmatch(readPage(t, "problems.md"), -1) {
		listed = append(listed, m[1])
	}
	codes := codesOf(t)
	for _, code := range codes {
		if !slices.Contains(listed, code) {
			t.Errorf("the code %q is not in docs/problems.md", code)
		}
	}
	for i, code := range listed {
		if !slices.Contains(codes, code) {
			t.Errorf("docs/problems.md lists %q, which is not a code of the sidecar", code)
		}
		if slices.Contains(listed[:i], code) {
			t.Errorf("docs/problems.md lists %q twice", code)
		}
	}
}

// reached returns the packages that the sidecar's command links. A stage that no chain uses cannot respond.
func reached(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "./cmd/sidecar")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	return slices.DeleteFunc(strings.Fields(string(out)), func(path string) bool {
		return !strings.Contains(path, "/postern/sidecar/")
	})
}

// codesOf returns every constant of type httperr.Code in the sidecar, in every syntax.
func codesOf(t *testing.T) []string {
	t.Helper()
	cfg := &packages.Config{
		Dir:  "../..",
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo,
	}
	loaded, err := packages.Load(cfg, reached(t)...)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, p := range loaded {
		for _, e := range p.Errors {
			t.Fatalf("loading %s: %v", p.PkgPath, e)
		}
		for _, value := range p.TypesInfo.Types {
			if value.Value == nil || value.Value.Kind() != constant.String || !strings.HasSuffix(value.Type.String(), "/sidecar/httpkit/httperr.Code") {
				continue
			}
			if code := constant.StringVal(value.Value); code != "" {
				codes = append(codes, code)
			}
		}
	}
	slices.Sort(codes)
	if codes = slices.Compact(codes); len(codes) < 30 {
		t.Fatalf("found %d codes only: %v", len(codes), codes)
	}
	return codes
}

// TestReasonsAreExplained checks that docs/troubleshooting.md has a row for every reason of a condition.
func TestReasonsAreExplained(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../api/v1alpha1/status_types.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	text, found := readPage(t, "troubleshooting.md"), 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		found++
		reason := strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`)
		if !strings.Contains(text, "`"+reason+"`") {
			t.Errorf("docs/troubleshooting.md does not explain the reason %s", reason)
		}
		return true
	})
	if found < 10 {
		t.Errorf("found %d reasons only", found)
	}
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// paths matches paths of this repository in a page.
var paths = regexp.MustCompile(`\b(?:api|charts|cmd|config|controllers|docs|hack|sidecar|test)/[A-Za-z0-9_./-]*[A-Za-z0-9_]`)

// TestPathsExist checks that every path in the pages for contributors exists.
func TestPathsExist(t *testing.T) {
	for _, page := range []string{"docs/architecture.md", "docs/request-path.md", "CONTRIBUTING.md"} {
		content, err := os.ReadFile("../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		found := paths.FindAllString(string(content), -1)
		if len(found) < 20 {
			t.Errorf("%s names %d paths only: the test does not see them", page, len(found))
		}
		for _, path := range found {
			if _, err := os.Stat("../../" + path); err != nil {
				t.Errorf("%s names %s: %v", page, path, err)
			}
		}
	}
}
