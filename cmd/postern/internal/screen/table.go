package screen

import (
	"strings"
)

// Colours, as escape sequences of ECMA-48 (SGR).
const (
	Bold   = "\x1b[1m"
	Dim    = "\x1b[2m"
	Red    = "\x1b[31m"
	Green  = "\x1b[32m"
	Yellow = "\x1b[33m"
	Cyan   = "\x1b[36m"
	plain  = "\x1b[0m"
)

// Style is how a terminal shows text.
type Style struct {
	// Width and Height are those of the terminal, in cells; 0 for no bound.
	Width, Height int
	// Colour enables colours.
	Colour bool
}

// Paint colours text if colours are enabled. An empty colour leaves it as it is.
func (s Style) Paint(colour, text string) string {
	if !s.Colour || colour == "" || text == "" {
		return text
	}
	return colour + text + plain
}

// Cell is a cell of a table.
type Cell struct{ Text, Colour string }

// Text returns cells without colours.
func Text(texts ...string) []Cell {
	cells := make([]Cell, len(texts))
	for i, t := range texts {
		cells[i] = Cell{Text: t}
	}
	return cells
}

// Table is a table with aligned columns.
type Table struct {
	style Style
	rows  [][]Cell
	// Flexible are the columns that become narrower if the table is wider than the terminal, the first one first. Their texts are cut in
	// the middle, except for the last column, whose texts are cut at the end.
	Flexible []int
}

// minColumn is the width to which a column shrinks, in cells.
const minColumn = 8

// gap is the space between two columns.
const gap = "  "

// NewTable returns a table with this head.
func NewTable(style Style, head ...string) *Table {
	t := &Table{style: style}
	cells := Text(head...)
	for i := range cells {
		cells[i].Colour = Bold
	}
	t.rows = append(t.rows, cells)
	return t
}

// Row adds a row. Texts are escaped.
func (t *Table) Row(cells ...Cell) {
	for i := range cells {
		cells[i].Text = Escape(cells[i].Text)
	}
	t.rows = append(t.rows, cells)
}

// String returns the table. Each line ends with a line break, and none with a space.
func (t *Table) String() string {
	widths := t.widths()
	var out strings.Builder
	for _, row := range t.rows {
		var line strings.Builder
		pending := 0 // spaces before the next text
		for i, c := range row {
			text := c.Text
			if i == len(widths)-1 {
				text = Cut(text, widths[i])
			} else {
				text = CutMiddle(text, widths[i])
			}
			if text != "" {
				line.WriteString(strings.Repeat(" ", pending))
				line.WriteString(t.style.Paint(c.Colour, text))
				pending = 0
			}
			pending += widths[i] - Width(text) + len(gap)
		}
		out.WriteString(line.String())
		out.WriteByte('\n')
	}
	return out.String()
}

// widths returns the width of each column, so that the table fits the terminal if that is possible.
func (t *Table) widths() []int {
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, c := range row {
			widths[i] = max(widths[i], Width(c.Text))
		}
	}
	if t.style.Width == 0 {
		return widths
	}
	excess := -t.style.Width - len(gap)
	for _, w := range widths {
		excess += w + len(gap)
	}
	for _, i := range t.Flexible {
		if excess <= 0 {
			break
		}
		least := max(minColumn, Width(t.rows[0][i].Text))
		if less := min(excess, widths[i]-least); less > 0 {
			widths[i] -= less
			excess -= less
		}
	}
	return widths
}
