package statetest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLinesAllowWhatTheTablesName: an ACL line allows exactly the commands of the tables.
func TestLinesAllowWhatTheTablesName(t *testing.T) {
	page := Read(t)
	for _, user := range []string{Namespace, All, AuditWriter} {
		var got, want []string
		for _, command := range page.Commands(user) {
			want = append(want, "+"+strings.ReplaceAll(strings.ToLower(command), " ", "|"))
		}
		for _, rule := range page.Rules(user) {
			if strings.HasPrefix(rule, "+") {
				got = append(got, rule)
			} else if strings.HasPrefix(rule, "@") || rule == "allkeys" || rule == "allcommands" || rule == "nopass" || strings.HasPrefix(rule, "&") {
				t.Errorf("%s: the rule %q is wider than the tables", user, rule)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s allows\n%s\nbut the tables list\n%s", user, got, want)
		}
	}
}

// TestEveryStoreHasRows: every package that uses Redis owns rows, and its tests call Check.
func TestEveryStoreHasRows(t *testing.T) {
	page, root := Read(t), Root(t)
	var owners []string
	for _, r := range page.Rows {
		owners = append(owners, r.Owner)
	}
	slices.Sort(owners)
	owners = slices.Compact(owners)
	if used := redisPackages(t, root); !slices.Equal(owners, used) {
		t.Errorf("docs/state.md has keys of\n%s\nbut Redis is used by\n%s", owners, used)
	}
	for _, owner := range owners {
		if !checks(t, filepath.Join(root, owner)) {
			t.Errorf("%s: no test calls Check", owner)
		}
	}
}

// redisPackages lists the packages that use Redis, except the shared connection and the test servers.
func redisPackages(t *testing.T, root string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, "sidecar"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil || dir == "sidecar/store/redis" || dir == "sidecar/store/redistest" {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range file.Imports {
			if strings.HasPrefix(i.Path.Value, `"github.com/redis/`) && !slices.Contains(found, dir) {
				found = append(found, dir)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

func checks(t *testing.T, dir string) bool {
	t.Helper()
	tests, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(tests, func(path string) bool {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(content), "page.Check(")
	})
}

func TestMatches(t *testing.T) {
	row := Row{Key: "postern:session:{<namespace/policy>}:5:owner:<issuer>:<subject>"}
	ended := Row{Key: row.Key + ":ended"}
	more := Row{Key: "postern:ratelimit:{<namespace/policy>}:<rule>:<keyBy>…"}
	space := Row{Key: "postern:revocation:{<namespace>}:4:meta"}
	hash := "#" + strings.Repeat("x", 43)
	tests := map[string]struct {
		row  Row
		key  string
		want bool
	}{
		"a key":                              {row, "postern:session:{11:shop/orders}:5:owner:0::7:user-42", true},
		"a hashed part":                      {row, "postern:session:{11:shop/orders}:5:owner:" + hash + ":7:user-42", true},
		"another literal":                    {row, "postern:session:{11:shop/orders}:5:other:0::7:user-42", false},
		"another store":                      {row, "postern:token:{11:shop/orders}:5:owner:0::7:user-42", false},
		"too few parts":                      {row, "postern:session:{11:shop/orders}:5:owner:0:", false},
		"too many parts":                     {row, "postern:session:{11:shop/orders}:5:owner:0::1:a:1:b", false},
		"a tail":                             {row, "postern:session:{11:shop/orders}:5:owner:0::7:user-42:ended", false},
		"the tail":                           {ended, "postern:session:{11:shop/orders}:5:owner:0::7:user-42:ended", true},
		"no tail":                            {ended, "postern:session:{11:shop/orders}:5:owner:0::7:user-42", false},
		"a part that looks like the tail":    {row, "postern:session:{11:shop/orders}:5:owner:0::6::ended", true},
		"further parts":                      {more, "postern:ratelimit:{11:shop/orders}:1:r:6:Route::1:a:1:b", true},
		"too few parts before further parts": {more, "postern:ratelimit:{11:shop/orders}:1:r", false},
		"a namespace":                        {space, "postern:revocation:{4:shop}:4:meta", true},
		"a policy for a namespace":           {space, "postern:revocation:{11:shop/orders}:4:meta", false},
		"a wrong length":                     {space, "postern:revocation:{5:shop}:4:meta", false},
		"not a key of Postern":               {space, "other:revocation:{4:shop}:4:meta", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.row.Matches(tt.key); got != tt.want {
				t.Errorf("%q matches %q: %v; want %v", tt.row.Key, tt.key, got, tt.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("postern:session:{11:shop/orders}:5:owner:0::7:user-42:ended")
	f.Add("postern:a:{#}:#:")
	f.Fuzz(func(t *testing.T, text string) {
		k, ok := decode(text)
		if !ok {
			return
		}
		size := len(fmt.Sprint("postern:", k.room)) + len(k.scope) + len(k.tail)
		for _, part := range k.parts {
			size += len(part)
		}
		if size > len(text) {
			t.Errorf("%q has %d bytes and its parts %d", text, len(text), size)
		}
	})
}
