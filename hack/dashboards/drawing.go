package main

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"strings"
)

const (
	column, row, gap = 66, 34, 8 // pixels of a unit of the grid, and between panels
	header           = 54        // pixels above the panels
	width            = 24*column + 2*gap
)

// palette has the colours of lines.
var palette = []string{"#1f77b4", "#e07b00", "#2a8f3c", "#c8282d", "#7d4fb5", "#8c564b", "#d24fa0", "#5f6b7a", "#9a8f00", "#0097a7"}

// drawing is an SVG that grows.
type drawing struct {
	strings.Builder
}

func (d *drawing) add(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

// text writes at the baseline. anchor is start, middle or end.
func (d *drawing) text(x, y float64, anchor, class, s string) {
	d.add(`<text x="%.1f" y="%.1f" text-anchor="%s" class="%s">%s</text>`, x, y, anchor, class, html.EscapeString(s))
}

func (d *drawing) line(x1, y1, x2, y2 float64, class string) {
	d.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>`, x1, y1, x2, y2, class)
}

const style = `<style>
text { font: 12px "DejaVu Sans", Arial, sans-serif; fill: #24292f } .title { font-size: 14px; font-weight: bold } .head { font-size: 20px; font-weight: bold }
.small { font-size: 11px; fill: #57606a } .row { font-size: 15px; font-weight: bold } .legend { font-size: 12px } .big { font-size: 56px; font-weight: bold }
.none { font-size: 14px; fill: #57606a } .panel { fill: #fff; stroke: #d0d7de } .grid { stroke: #e4e8ec } .axis { stroke: #8c959f } .th { font-weight: bold }
path { fill: none; stroke-width: 1.8; stroke-linejoin: round }
</style>`

// draw returns the dashboard with the results of its queries as SVG.
func draw(board *dashboard, file string, p *prometheus, results [][][]series) (svg string, height int) {
	for _, one := range board.Panels {
		height = max(height, (one.GridPos.Y+one.GridPos.H)*row)
	}
	height += header + gap
	d := &drawing{}
	d.add(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">%s`, width, height, width, height, style)
	d.add(`<rect width="%d" height="%d" fill="#f4f5f7"/>`, width, height)
	d.text(gap, 26, "start", "head", board.Title)
	d.text(gap, 45, "start", "small", fmt.Sprintf("A drawing of the queries of %s, not a screenshot of Grafana. %s to %s UTC.", file, p.start.UTC().Format("2006-01-02 15:04"), p.end.UTC().Format("15:04")))
	for i := range board.Panels {
		d.panel(&board.Panels[i], p, results[i])
	}
	d.add(`</svg>`)
	return d.String(), height
}

// box is a place in pixels.
type box struct{ x, y, w, h float64 }

func (d *drawing) panel(p *panel, from *prometheus, results [][]series) {
	g := p.GridPos
	b := box{float64(gap + g.X*column), float64(header + g.Y*row), float64(g.W*column - gap), float64(g.H*row - gap)}
	if p.Type == "row" {
		d.text(b.x, b.y+20, "start", "row", p.Title)
		return
	}
	d.add(`<rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" rx="3" class="panel"/>`, b.x, b.y, b.w, b.h)
	d.text(b.x+10, b.y+20, "start", "title", p.Title)
	inner := box{b.x + 10, b.y + 32, b.w - 20, b.h - 40}
	var all []series
	for _, found := range results {
		all = append(all, found...)
	}
	switch {
	case len(all) == 0:
		d.text(b.x+b.w/2, b.y+b.h/2, "middle", "none", cmp.Or(p.FieldConfig.Defaults.NoValue, "No data"))
	case p.Type == "table":
		d.table(p, inner, all)
	case p.Type == "stat":
		d.stat(p, inner, all)
	default:
		d.lines(p, inner, from, all)
	}
}

// table draws a row for each series, as far as there is room. Columns are as wide as their content needs.
func (d *drawing) table(p *panel, b box, all []series) {
	labels, titles := p.columns(all)
	rows := [][]string{titles}
	for _, s := range all {
		var cells []string
		for _, name := range labels {
			if cell := s.labels[name]; name != valueColumn {
				cells = append(cells, shorten(cell, 26))
			} else {
				cells = append(cells, format(s.last(), p.FieldConfig.Defaults.Unit))
			}
		}
		rows = append(rows, cells)
	}
	left := columnStarts(rows)
	room := int(b.h / 22)
	for i, cells := range rows {
		y, class := b.y+16+float64(i)*22, "legend"
		if i == 0 {
			class = "th"
		}
		if i == room-1 && len(rows) > room {
			d.text(b.x, y, "start", "small", fmt.Sprintf("and %d more", len(rows)-i))
			return
		}
		for j, cell := range cells {
			d.text(b.x+left[j], y, "start", class, cell)
		}
		d.line(b.x, y+6, b.x+b.w, y+6, "grid")
	}
}

// columnStarts returns where each column begins.
func columnStarts(rows [][]string) []float64 {
	starts := make([]float64, len(rows[0])+1)
	for j := range rows[0] {
		for _, cells := range rows {
			starts[j+1] = max(starts[j+1], starts[j]+textWidth(cells[j])*1.15+14)
		}
	}
	return starts
}

// stat draws each series as a large value, side by side.
func (d *drawing) stat(p *panel, b box, all []series) {
	wide, size := b.w/float64(len(all)), 56.0
	for _, s := range all {
		size = min(size, wide/float64(len([]rune(format(s.last(), p.FieldConfig.Defaults.Unit))))*1.3)
	}
	for i, s := range all {
		value, colour, x := s.last(), "#24292f", b.x+wide*(float64(i)+0.5)
		for _, step := range p.FieldConfig.Defaults.Thresholds.Steps {
			if step.Value == nil || value >= *step.Value {
				colour = map[string]string{"green": "#2a8f3c", "red": "#c8282d", "orange": "#e07b00", "yellow": "#9a8f00"}[step.Color]
			}
		}
		text := format(value, p.FieldConfig.Defaults.Unit)
		d.add(`<text x="%.1f" y="%.1f" text-anchor="middle" class="big" style="fill:%s;font-size:%.0fpx">%s</text>`, x, b.y+b.h/2+16, colour, size, html.EscapeString(text))
		if len(all) > 1 {
			d.text(x, b.y+b.h/2+46, "middle", "none", s.name)
		}
	}
}

// shorten cuts a text to n characters.
func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:max(n-1, 1)]) + "…"
}

// textWidth estimates the width of a text of 12 pixels.
func textWidth(s string) float64 { return 7.1 * float64(len([]rune(s))) }

// limits returns the least and the greatest value of all series.
func limits(p *panel, all []series) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, s := range all {
		for _, v := range s.values {
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if math.IsInf(low, 1) {
		low, high = 0, 1
	}
	if least := p.FieldConfig.Defaults.Min; least != nil {
		low = min(low, *least)
	}
	if low == high {
		high = low + max(math.Abs(low)*0.1, 1e-9)
		if low == 0 {
			high = 1
		}
	}
	return low, high
}
