package overview

import (
	"fmt"
	"strings"

	"github.com/posterndev/postern/cmd/postern/internal/screen"
)

// marks are the words and colours of severities.
var marks = map[Severity]screen.Cell{
	Error: {Text: "error", Colour: screen.Red}, Warning: {Text: "warning", Colour: screen.Yellow}, Note: {Text: "note", Colour: screen.Dim},
}

// todo returns the problems with their remedies.
func (o Overview) todo(to Options) string {
	var out strings.Builder
	for i := range o.Policies {
		p := &o.Policies[i]
		subject := p.Name
		if to.Namespaces {
			subject = p.Namespace + "/" + p.Name
		}
		for _, problem := range p.Problems {
			out.WriteString(problem.text(subject, to))
		}
	}
	for _, problem := range o.Problems {
		out.WriteString(problem.text("", to))
	}
	if out.Len() == 0 {
		return ""
	}
	return "\n" + out.String()
}

// maxWhat bounds a problem's text in the short form, in cells.
const maxWhat = 400

func (p Problem) text(subject string, to Options) string {
	if p.Severity == Note && !to.Detail && !to.Wide {
		return ""
	}
	mark := marks[p.Severity]
	text := screen.Escape(p.What)
	if subject != "" {
		text = screen.Escape(subject) + ": " + text
	}
	if !to.Wide && !to.Detail {
		text = screen.Cut(text, maxWhat)
	}
	var out strings.Builder
	for i, line := range screen.Wrap(text, to.Width-len("warning  ")) {
		if i == 0 {
			fmt.Fprintf(&out, "%s%s  ", to.Paint(mark.Colour, mark.Text), strings.Repeat(" ", len("warning")-len(mark.Text)))
		} else {
			out.WriteString("         ")
		}
		out.WriteString(line + "\n")
	}
	if p.Do != "" {
		for _, line := range screen.Wrap(screen.Escape(p.Do), to.Width-len("warning  ")) {
			out.WriteString("         " + line + "\n")
		}
	}
	for _, command := range p.Commands {
		fmt.Fprintf(&out, "         %s\n", to.Paint(screen.Cyan, "$ "+screen.Escape(command)))
	}
	return out.String()
}
