package record

import (
	"os"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// TestActionsAreDocumented: docs/audit.md lists each action in the row of its category.
func TestActionsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[Category]string{}
	for line := range strings.Lines(string(page)) {
		for _, c := range Categories() {
			if strings.HasPrefix(line, "| `"+string(c)+"` |") {
				rows[c] = line
			}
		}
	}
	all := []Class{{Category: APIKey, Action: "api_key_used"}, {Category: APIKey, Action: "api_key_refused"}}
	for _, action := range []event.Action{event.Create, event.Update, event.Delete} {
		all = append(all, Class{Category: Lifecycle, Action: string(action)})
	}
	for k := event.Kind(0); k.String() != "unknown"; k++ {
		if class, ok := recorded(k); ok && class.Action != "" {
			all = append(all, class)
		}
	}
	for _, act := range acts() {
		all = append(all, Class{Category: Admin, Action: act})
	}
	for _, c := range all {
		if c.Category != Lifecycle && !Reserved(c.Action) {
			t.Errorf("an app may use the action %s", c.Action)
		}
		if !strings.Contains(rows[c.Category], "`"+c.Action+"`") {
			t.Errorf("docs/audit.md does not list %s of %s", c.Action, c.Category)
		}
	}
	for _, own := range []string{"", "CREATE", "report.exported", "app.login"} {
		if Reserved(own) {
			t.Errorf("an app may not use the action %q", own)
		}
	}
}
