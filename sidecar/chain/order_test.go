package chain

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// documented returns the names in the table of docs/request-path.md, and those in its text about the deleted policy.
func documented(t *testing.T) (path, deleted []string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/request-path.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile(`(?m)^([a-z-]+) {2,}.*sidecar/`).FindAllStringSubmatch(string(page), -1) {
		path = append(path, row[1])
	}
	_, text, _ := strings.Cut(string(page), "A deleted policy\nhas")
	text, _, _ = strings.Cut(text, ":")
	for _, name := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(text, -1) {
		deleted = append(deleted, name[1])
	}
	return path, deleted
}

// TestTheOrderIsDocumented: on the page, the connection and the access log surround the steps of the table, and the proxy
// follows them.
func TestTheOrderIsDocumented(t *testing.T) {
	want := []string{"connection", "access-log"}
	for _, s := range order() {
		want = append(want, s.name)
	}
	want = append(want, "proxy")
	path, deleted := documented(t)
	if !slices.Equal(path, want) {
		t.Errorf("docs/request-path.md has %v; the table has %v", path, want)
	}
	if !slices.Equal(deleted, deletedProfile()) {
		t.Errorf("docs/request-path.md has %v for a deleted policy; the profile has %v", deleted, deletedProfile())
	}
}

func TestProfilesNameSteps(t *testing.T) {
	for name, p := range map[string]profile{"proxy": proxyProfile(), "deleted": deletedProfile()} {
		steps, err := pick(order(), p)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(steps) != len(p) {
			t.Errorf("%s: %d steps of %d names", name, len(steps), len(p))
		}
	}
	if n := len(order()); len(proxyProfile()) != n {
		t.Errorf("an active policy has %d of %d steps", len(proxyProfile()), n)
	}
}

func TestPick(t *testing.T) {
	nothing := func(*builder) stage.Stage { return nil }
	table := []step{{"a", nothing}, {"b", nothing}, {"c", nothing}}
	tests := map[string]struct {
		table   []step
		profile profile
		want    string
		wantErr string
	}{
		"the table's order":   {table, profile{"c", "a"}, "a c", ""},
		"nothing":             {table, nil, "", ""},
		"twice in a profile":  {table, profile{"a", "b", "a"}, "", `"a" is repeated`},
		"an unknown name":     {table, profile{"a", "z"}, "", `unknown stage "z"`},
		"twice in the table":  {append(table, step{"b", nothing}), profile{"a", "b"}, "", "repeated in the table"},
		"no name":             {table, profile{""}, "", `unknown stage ""`},
		"a name in uppercase": {table, profile{"A"}, "", `unknown stage "A"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			steps, err := pick(tt.table, tt.profile)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("error %v; want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, s := range steps {
				names = append(names, s.name)
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("picked %q; want %q", got, tt.want)
			}
		})
	}
}
