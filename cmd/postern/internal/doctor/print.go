package doctor

import (
	"fmt"
	"iter"
	"maps"
	"strings"

	"github.com/posterndev/postern/cmd/postern/internal/screen"
)

func keysOf[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }

// marks are the words and colours of levels.
var marks = map[Level]screen.Cell{
	OK: {Text: "ok", Colour: screen.Green}, Warning: {Text: "warning", Colour: screen.Yellow}, Problem: {Text: "PROBLEM", Colour: screen.Red},
	NotChecked: {Text: "unknown", Colour: screen.Dim},
}

// Text returns the findings as text, with their remedies. Everything from the cluster is escaped.
func Text(findings []Finding, style screen.Style) string {
	wide := 0
	for _, f := range findings {
		wide = max(wide, len(f.Check))
	}
	var out strings.Builder
	counts := map[Level]int{}
	for _, f := range findings {
		counts[f.Level]++
		mark := marks[f.Level]
		indent := len("PROBLEM  ") + wide + 2
		head := style.Paint(mark.Colour, mark.Text) + strings.Repeat(" ", len("PROBLEM  ")-len(mark.Text)) + f.Check + strings.Repeat(" ", wide+2-len(f.Check))
		lines := screen.Wrap(screen.Escape(f.What), style.Width-indent)
		if f.Do != "" {
			lines = append(lines, screen.Wrap("→ "+screen.Escape(f.Do), style.Width-indent)...)
		}
		for _, command := range f.Commands {
			lines = append(lines, style.Paint(screen.Cyan, "$ "+screen.Escape(command)))
		}
		out.WriteString(head + strings.Join(lines, "\n"+strings.Repeat(" ", indent)) + "\n")
	}
	fmt.Fprintf(&out, "\n%s, %s, %d ok, %d unknown\n", plural(counts[Problem], "problem", "problems"), plural(counts[Warning], "warning", "warnings"),
		counts[OK], counts[NotChecked])
	return out.String()
}
