package overview

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/cmd/postern/internal/screen"
)

// Options is what is printed and how.
type Options struct {
	screen.Style
	// Wide adds columns, and a table of the pods.
	Wide bool
	// Detail is for one policy: it prints its pods, and notes too.
	Detail bool
	// Namespaces prints the policies' namespaces.
	Namespaces bool
	// Where names what was asked for, as "namespace shop".
	Where string
	Now   time.Time
}

// states says how a state is printed.
var states = map[State]screen.Cell{
	Enforced:    {Text: "yes", Colour: screen.Green},
	NotEnforced: {Text: "NO", Colour: screen.Red},
	Shadow:      {Text: "shadow", Colour: screen.Yellow},
	NoPods:      {Text: "no pods", Colour: screen.Dim},
	Unknown:     {Text: "unknown", Colour: screen.Yellow},
}

// Text returns the overview as text. Everything from the cluster is escaped. It leaves out policies that are enforced if they do not fit the
// terminal's height.
func (o Overview) Text(to Options) string {
	var out strings.Builder
	switch {
	case len(o.Policies) == 0 && to.Detail:
	case len(o.Policies) == 0:
		fmt.Fprintf(&out, "There is no SecurityPolicy in %s: nothing is enforced.\n", screen.Escape(to.Where))
	default:
		out.WriteString(o.table(to))
	}
	if to.Wide || to.Detail {
		out.WriteString(o.pods(to))
	}
	if len(o.Unguarded) > 0 && !to.Detail {
		fmt.Fprintf(&out, "\nNo policy selects %s\n", screen.Escape(unguardedText(o.Unguarded, to.Namespaces)))
	}
	out.WriteString(o.todo(to))
	if len(o.Unread) > 0 {
		out.WriteByte('\n')
	}
	for _, u := range o.Unread {
		text := fmt.Sprintf("you may not %s: %s", u.Right, u.Consequence)
		if u.Right == "" {
			text = fmt.Sprintf("%s: %s", u.Consequence, u.Error)
		}
		fmt.Fprintf(&out, "%s %s\n", to.Paint(screen.Yellow, "not checked:"), screen.Escape(text))
	}
	return out.String()
}

// table returns the table of the policies.
func (o Overview) table(to Options) string {
	head := []string{"POLICY", "ENFORCED", "PODS", "SINCE", "REASON"}
	if to.Wide {
		head = append(head, "MODE", "CLASS", "INTERCEPTION", "REVISION", "DOCUMENT", "SELECTOR", "WORKLOADS")
	}
	head = append(head, "GUARDS")
	if to.Namespaces {
		head = slices.Insert(head, 0, "NAMESPACE")
	}
	table := screen.NewTable(to.Style, head...)
	last := len(head) - 1
	table.Flexible = []int{last, slices.Index(head, "POLICY"), 0}
	shown, hidden := o.Policies, 0
	if room := o.room(to); room > 0 && len(shown) > room {
		for len(shown) > room && shown[len(shown)-1].State.fine() {
			shown, hidden = shown[:len(shown)-1], hidden+1
		}
	}
	for i := range shown {
		table.Row(shown[i].cells(to)...)
	}
	text := table.String()
	if hidden > 0 {
		text += fmt.Sprintf("… and %d more without an error; -o wide shows all\n", hidden)
	}
	return text
}

func (s State) fine() bool { return s == Enforced || s == NoPods }

// room returns how many policies fit the terminal besides the rest; 0 for no bound.
func (o Overview) room(to Options) int {
	if to.Height == 0 || to.Wide {
		return 0
	}
	const others = 5 // the head, the line about hidden policies, one about pods without a policy, empty lines
	return max(5, to.Height-others-strings.Count(o.todo(to), "\n"))
}

func (p *Policy) cells(to Options) []screen.Cell {
	reason := p.Reason
	if p.State.fine() || p.State == Shadow {
		reason = ""
	}
	cells := append(screen.Text(p.Name), states[p.State])
	pods := fmt.Sprintf("%d/%d", p.Current, p.Matched)
	if p.Refused > 0 {
		pods += fmt.Sprintf(" (%d refused)", p.Refused)
	}
	cells = append(cells, screen.Text(pods, p.age(to.Now), reason)...)
	if to.Wide {
		cells = append(cells, screen.Text(p.Mode, dash(p.Class), dash(p.Interception), fmt.Sprint(p.Revision), short(p.Document), p.Selector, workloads(p.Workloads))...)
	}
	cells = append(cells, screen.Cell{Text: guards(p.Guards)})
	if to.Namespaces {
		cells = slices.Insert(cells, 0, screen.Cell{Text: p.Namespace})
	}
	return cells
}

func (p *Policy) age(now time.Time) string {
	if p.Since == nil {
		return "-"
	}
	return screen.Age(now.Sub(*p.Since))
}

func guards(sections []Section) string {
	var names []string
	for _, s := range sections {
		names = append(names, s.String())
	}
	return dash(strings.Join(names, " "))
}

func workloads(groups []Group) string {
	var names []string
	for _, g := range groups {
		names = append(names, fmt.Sprintf("%s %d/%d", g.Name, g.Current, g.Pods))
	}
	return dash(strings.Join(names, ", "))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// pods returns a table of the policies' pods.
func (o Overview) pods(to Options) string {
	head := []string{"POD", "POLICY", "ENFORCED", "REPORTED", "DOCUMENT", "VERSION", "IMAGE", "PROBLEM"}
	if to.Namespaces {
		head = slices.Insert(head, 0, "NAMESPACE")
	}
	table := screen.NewTable(to.Style, head...)
	table.Flexible = []int{len(head) - 1, slices.Index(head, "IMAGE"), slices.Index(head, "POD"), slices.Index(head, "POLICY")}
	any := false
	for i := range o.Policies {
		p := &o.Policies[i]
		for _, pod := range p.Pods {
			any = true
			reported := "-"
			if pod.Reported != nil {
				reported = screen.Age(to.Now.Sub(*pod.Reported))
			}
			problem := pod.Reason
			if problem != "" {
				problem += ": " + pod.Message
			}
			cells := append(screen.Text(pod.Name, p.Name), states[pod.State])
			cells = append(cells, screen.Text(reported, short(pod.Document), dash(pod.Version), dash(pod.Image), problem)...)
			if to.Namespaces {
				cells = slices.Insert(cells, 0, screen.Cell{Text: p.Namespace})
			}
			table.Row(cells...)
		}
	}
	if !any {
		return ""
	}
	return "\n" + table.String()
}

// unguardedText lists the workloads whose pods no policy selects.
func unguardedText(groups []Group, namespaces bool) string {
	total := 0
	var names []string
	for _, g := range groups {
		total += g.Pods
		name := g.Name
		if namespaces {
			name += " in " + g.Namespace
		}
		if g.Pods > 1 {
			name += fmt.Sprintf(" (%d)", g.Pods)
		}
		names = append(names, name)
	}
	noun := "pods"
	if total == 1 {
		noun = "pod"
	}
	return fmt.Sprintf("%d %s: %s", total, noun, list(names))
}
