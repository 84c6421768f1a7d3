package differential

import (
	"bufio"
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

//go:embed testdata/requests.txt
var requestCorpus string

//go:embed testdata/targets.txt
var targetCorpus string

// corpus returns the stored inputs: whole requests, request targets, and what the fuzz tests of the parsers begin with.
func corpus(t *testing.T) (cases []testCase) {
	t.Helper()
	for n, line := range lines(requestCorpus) {
		text, err := strconv.Unquote(line)
		if err != nil {
			t.Fatalf("request %d of the corpus: %v", n, err)
		}
		cases = append(cases, testCase{name: fmt.Sprintf("request %d", n), bytes: text}, testCase{name: fmt.Sprintf("request %d by itself", n), bytes: text, sequential: true})
	}
	for n, line := range append(lines(targetCorpus), servedTargets(t)...) {
		cases = append(cases, toTarget(fmt.Sprintf("target %d", n), line))
	}
	for _, s := range seedings {
		found := seeds(t, s)
		if len(found) == 0 {
			t.Errorf("%s of %s has no seeds: correct the list", s.fuzz, s.folder)
		}
		for n, seed := range found {
			c := s.use(seed)
			c.name = fmt.Sprintf("%s %d", s.fuzz, n)
			if !strings.HasPrefix(c.bytes, "PRI ") && c.bytes != "" { // the sidecar speaks HTTP/2 too
				cases = append(cases, c)
			}
		}
	}
	return cases
}

// lines returns the lines that are no comments.
func lines(text string) (all []string) {
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		if s.Text() != "" && !strings.HasPrefix(s.Text(), "# ") {
			all = append(all, s.Text())
		}
	}
	return all
}

func toTarget(name, target string) testCase {
	return testCase{name: name, bytes: "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n"}
}

// servedTargets returns the targets for which a real app has served a protected resource.
func servedTargets(t *testing.T) (all []string) {
	t.Helper()
	b, err := os.ReadFile("../../hack/pathcorpus/testdata/served.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines(string(b)) {
		if target, ok := strings.CutPrefix(line, "\t"); ok {
			all = append(all, target)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// seeding says how the seeds of a fuzz test become cases.
type seeding struct {
	folder, fuzz string
	use          func(seed string) testCase
}

const chunkedPost = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

// seedings are the fuzz tests of the parsers of HTTP/1.1 and of paths.
var seedings = []seeding{
	{"sidecar/conn/http1/server", "FuzzAgreesWithNetHTTP", asRequest},
	{"sidecar/conn/http1/server", "FuzzRespond", asRequest},
	{"sidecar/conn/http1/server", "FuzzChunked", func(s string) testCase { return testCase{bytes: chunkedPost + s} }},
	{"sidecar/conn/http1/wire", "FuzzChunks", func(s string) testCase {
		return asResponse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + s)
	}},
	{"sidecar/conn/http1/wire", "FuzzResponse", asResponse},
	{"sidecar/httpkit/route", "FuzzNormalize", func(s string) testCase { return toTarget("", s) }},
	{"sidecar/httpkit/route", "FuzzOptions", func(s string) testCase { return toTarget("", s) }},
	{"sidecar/httpkit/route", "FuzzPatternsAreReached", func(s string) testCase { return toTarget("", s) }},
	{"sidecar/stages/hopbyhop", "FuzzClean", func(s string) testCase {
		return testCase{bytes: "GET / HTTP/1.1\r\nHost: a\r\nX-Hop: 1\r\nConnection: " + s + "\r\nUpgrade: " + s + "\r\n\r\n"}
	}},
}

func asRequest(s string) testCase { return testCase{bytes: s} }

func asResponse(s string) testCase {
	return testCase{bytes: get, sequential: true, replies: []reply{{raw: s, then: closed}}}
}

// seeds returns the strings that a fuzz test begins with, and the stored inputs of its testdata.
func seeds(t *testing.T, s seeding) (all []string) {
	t.Helper()
	folder := filepath.Join("../..", s.folder)
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	var fuzz *ast.FuncDecl
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.GenDecl:
				define(known, d)
			case *ast.FuncDecl:
				if d.Name.Name == s.fuzz {
					fuzz = d
				}
			}
		}
	}
	if fuzz != nil {
		all = literals(known, fuzz.Body)
	}
	return append(all, storedInputs(t, filepath.Join(folder, "testdata/fuzz", s.fuzz))...)
}

// define keeps the constants of a declaration.
func define(known map[string]string, d *ast.GenDecl) {
	for _, one := range d.Specs {
		if v, ok := one.(*ast.ValueSpec); ok {
			for i, name := range v.Names {
				if i < len(v.Values) {
					if text, ok := eval(known, v.Values[i]); ok {
						known[name.Name] = text
					}
				}
			}
		}
	}
}

// literals returns the strings in the lists and the calls of Add before the call of Fuzz.
func literals(known map[string]string, body *ast.BlockStmt) (all []string) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if name, ok := n.Lhs[0].(*ast.Ident); ok && len(n.Rhs) == 1 {
				if text, ok := eval(known, n.Rhs[0]); ok {
					known[name.Name] = text
				}
			}
		case *ast.CompositeLit:
			for _, e := range n.Elts {
				if text, ok := eval(known, e); ok {
					all = append(all, text)
				}
			}
		case *ast.CallExpr:
			s, ok := n.Fun.(*ast.SelectorExpr)
			if ok && s.Sel.Name == "Fuzz" {
				return false
			}
			for _, e := range n.Args {
				if text, known := eval(known, e); ok && s.Sel.Name == "Add" && known {
					all = append(all, text)
				}
			}
		}
		return true
	})
	return all
}

// eval returns the value of a string that is made of literals, known names, and parts of them without a suffix.
func eval(known map[string]string, e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.Ident:
		text, ok := known[e.Name]
		return text, ok
	case *ast.BinaryExpr:
		a, ok := eval(known, e.X)
		b, also := eval(known, e.Y)
		return a + b, ok && also && e.Op == token.ADD
	case *ast.SliceExpr:
		text, ok := eval(known, e.X)
		if high, is := e.High.(*ast.BinaryExpr); ok && is && e.Low == nil && high.Op == token.SUB {
			if n, is := high.Y.(*ast.BasicLit); is {
				cut, err := strconv.Atoi(n.Value)
				return text[:max(0, len(text)-cut)], err == nil
			}
		}
	}
	return "", false
}

// storedInputs returns the first value of each input that go test has stored.
func storedInputs(t *testing.T, folder string) (all []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(b), "\n")
		value := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(lines[1], "[]byte("), "string("), ")")
		text, err := strconv.Unquote(value)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, text)
	}
	return all
}
