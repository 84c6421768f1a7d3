package scrape

import (
	"fmt"
	"strings"
	"time"

	"github.com/posterndev/postern/cmd/postern/internal/screen"
)

// View is what postern top shows.
type View struct {
	Time time.Time `json:"time"`
	// Seconds is the time between the two reads.
	Seconds float64 `json:"seconds"`
	Rows    []Row   `json:"rows"`
	Total   Row     `json:"total"`
	*Lists
	// Unanswered are the pods that did not answer, with the reason.
	Unanswered []string `json:"unanswered,omitempty"`
}

// Text returns the view as text. Everything from the cluster is escaped.
func (v View) Text(style screen.Style, byPod, namespaces bool) string {
	var out strings.Builder
	if len(v.Rows) == 0 {
		out.WriteString("No running pod has a sidecar.\n")
	} else {
		out.WriteString(v.table(style, byPod, namespaces))
	}
	if v.Lists != nil {
		for _, l := range []struct {
			title string
			list  []Counted
		}{{"ACCOUNTS WITH FAILED LOGINS", v.Accounts}, {"ADDRESSES WITH FAILED LOGINS", v.Addresses}, {"ADDRESSES WITH REFUSED REQUESTS", v.Refused}} {
			if len(l.list) > 0 {
				out.WriteString("\n" + counted(style, l.title, l.list, v.Time))
			}
		}
	}
	for i, text := range v.Unanswered {
		if i == maxUnanswered {
			fmt.Fprintf(&out, "… and %d more did not answer\n", len(v.Unanswered)-i)
			break
		}
		if i == 0 {
			out.WriteByte('\n')
		}
		fmt.Fprintf(&out, "%s %s\n", style.Paint(screen.Yellow, "no answer:"), screen.Escape(text))
	}
	return out.String()
}

// maxUnanswered bounds the pods that are named because they did not answer.
const maxUnanswered = 5

func (v View) table(style screen.Style, byPod, namespaces bool) string {
	var head []string
	if namespaces {
		head = append(head, "NAMESPACE")
	}
	head = append(head, "POLICY")
	flexible := []int{len(head) - 1, 0}
	if byPod {
		flexible = append([]int{len(head)}, flexible...)
		head = append(head, "POD")
	} else {
		head = append(head, "PODS")
	}
	table := screen.NewTable(style, append(head, "REQ/S", "5XX/S", "REFUSED/S", "SHADOW/S", "FAILED LOGINS/S", "LOGINS/S", "OPEN", "SESSIONS")...)
	table.Flexible = flexible
	add := func(r *Row, name string) {
		var cells []screen.Cell
		if namespaces {
			cells = append(cells, screen.Cell{Text: r.Namespace})
		}
		cells = append(cells, screen.Cell{Text: name})
		if byPod {
			cells = append(cells, screen.Cell{Text: r.Pod})
		} else {
			cells = append(cells, screen.Cell{Text: fmt.Sprintf("%d/%d", r.Answered, r.Pods)})
		}
		table.Row(append(cells, r.cells()...)...)
	}
	for i := range v.Rows {
		add(&v.Rows[i], v.Rows[i].Policy)
	}
	if len(v.Rows) > 1 {
		add(&v.Total, "total")
	}
	return table.String()
}

func (r *Row) cells() []screen.Cell {
	alarm := func(value float64, colour string) screen.Cell {
		if value <= 0 {
			colour = ""
		}
		return screen.Cell{Text: number(value), Colour: colour}
	}
	open, held := "-", "-"
	if r.Answered > 0 {
		open = fmt.Sprintf("%.0f", r.InFlight)
	}
	if r.Sessions != nil {
		held = fmt.Sprintf("%.0f", *r.Sessions)
	}
	return []screen.Cell{
		alarm(r.Requests, ""), alarm(r.ServerErrors, screen.Red), alarm(r.Refused, screen.Yellow), alarm(r.Shadow, screen.Yellow), alarm(r.FailedLogins, screen.Red),
		alarm(r.Logins, ""), {Text: open}, {Text: held},
	}
}

// number returns a rate with a precision that fits its size.
func number(rate float64) string {
	switch {
	case rate < 0:
		return "-"
	case rate < 10:
		return fmt.Sprintf("%.2f", rate)
	case rate < 1000:
		return fmt.Sprintf("%.1f", rate)
	}
	return fmt.Sprintf("%.0f", rate)
}

func counted(style screen.Style, title string, list []Counted, now time.Time) string {
	table := screen.NewTable(style, title, "COUNT", "LAST")
	table.Flexible = []int{0}
	for _, c := range list {
		last := "-"
		if !c.Last.IsZero() {
			last = screen.Age(now.Sub(c.Last)) + " ago"
		}
		table.Row(screen.Text(c.Account+c.Address, fmt.Sprint(c.Count), last)...)
	}
	return table.String()
}
