// Package plot draws line plots as SVG, for documents. Both axes have labels with units. The horizontal axis is logarithmic, because the
// sizes that are compared differ by orders of magnitude; the vertical one begins at 0.
package plot

import (
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Plot is a line plot.
type Plot struct {
	Title string
	// X and Y are the labels of the axes, with units.
	X, Y  string
	Lines []Line
}

// Line is one line. X is sorted; a 0 is drawn at the left edge, before the smallest other value.
type Line struct {
	Name string
	X, Y []float64
	// Labels are those of the values of X, such as 64 KiB. If they are unset, the numbers are shown.
	Labels []string
}

// The sizes of the picture and of its margins, in pixels.
const (
	width, height            = 720, 400
	left, right, top, bottom = 70, 20, 44, 56
	legendLine               = 18
)

// colors can be told apart on a light background, also with the usual colour blindness (Okabe and Ito).
var colors = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#000000"}

// SVG draws the plot. It fails if there is no point.
func (p Plot) SVG() (string, error) {
	s := newScale(p.Lines)
	if s.points == 0 {
		return "", fmt.Errorf("drawing the plot %q: it has no points", p.Title)
	}
	total := height + legendLine*len(p.Lines)
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="13" fill="#222">`+"\n", width, total, width, total)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, total)
	text(&out, width/2, 24, `text-anchor="middle" font-size="16"`, p.Title)
	text(&out, (left+width-right)/2, height-12, `text-anchor="middle"`, p.X)
	text(&out, 18, (top+height-bottom)/2, fmt.Sprintf(`text-anchor="middle" transform="rotate(-90 18 %d)"`, (top+height-bottom)/2), p.Y)
	s.axes(&out, p.Lines)
	for i, l := range p.Lines {
		s.line(&out, l, colors[i%len(colors)])
		y := height + legendLine*i
		fmt.Fprintf(&out, `<rect x="%d" y="%d" width="22" height="4" fill="%s"/>`+"\n", left, y, colors[i%len(colors)])
		text(&out, left+30, y+7, "", l.Name)
	}
	out.WriteString("</svg>\n")
	return out.String(), nil
}

// scale maps values to pixels.
type scale struct {
	points    int
	low, high float64 // logarithms of the smallest and the largest x that is not 0
	zero      bool    // an x is 0
	top, step float64 // of the vertical axis
}

func newScale(lines []Line) scale {
	s := scale{low: math.Inf(1), high: math.Inf(-1)}
	largest := 0.0
	for _, l := range lines {
		for i := range min(len(l.X), len(l.Y)) {
			s.points++
			largest = max(largest, l.Y[i])
			if l.X[i] <= 0 {
				s.zero = true
				continue
			}
			s.low, s.high = min(s.low, math.Log10(l.X[i])), max(s.high, math.Log10(l.X[i]))
		}
	}
	if s.low > s.high { // every x is 0
		s.low, s.high = 0, 0
	}
	if s.zero {
		s.low -= max((s.high-s.low)/4, 0.5)
	}
	s.step = step(largest)
	s.top = s.step * math.Ceil(max(largest, s.step)/s.step)
	return s
}

// step returns a round step for about five marks: 1, 2 or 5 times a power of ten.
func step(largest float64) float64 {
	if largest <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(largest/5)))
	for _, m := range []float64{1, 2, 5} {
		if m*power*5 >= largest {
			return m * power
		}
	}
	return 10 * power
}

func (s scale) x(v float64) float64 {
	at := s.low
	if v > 0 {
		at = math.Log10(v)
	}
	if s.high == s.low {
		return (left + width - right) / 2
	}
	return left + 20 + (at-s.low)/(s.high-s.low)*(width-left-right-40)
}

func (s scale) y(v float64) float64 {
	return height - bottom - v/s.top*(height-top-bottom)
}

func (s scale) axes(out *strings.Builder, lines []Line) {
	for v := 0.0; v <= s.top+s.step/2; v += s.step {
		fmt.Fprintf(out, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`+"\n", left, s.y(v), width-right, s.y(v))
		text(out, left-8, int(s.y(v))+4, `text-anchor="end"`, number(v))
	}
	seen := map[float64]bool{}
	for _, l := range lines {
		for i, v := range l.X {
			if seen[v] {
				continue
			}
			seen[v] = true
			label := number(v)
			if i < len(l.Labels) {
				label = l.Labels[i]
			}
			fmt.Fprintf(out, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#222"/>`+"\n", s.x(v), height-bottom, s.x(v), height-bottom+5)
			text(out, int(s.x(v)), height-bottom+20, `text-anchor="middle"`, label)
		}
	}
	fmt.Fprintf(out, `<path d="M%d %d V%d H%d" fill="none" stroke="#222"/>`+"\n", left, top, height-bottom, width-right)
}

func (s scale) line(out *strings.Builder, l Line, color string) {
	var points []string
	for i := range min(len(l.X), len(l.Y)) {
		x, y := s.x(l.X[i]), s.y(l.Y[i])
		points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
		fmt.Fprintf(out, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", x, y, color)
	}
	fmt.Fprintf(out, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), color)
}

func text(out *strings.Builder, x, y int, attributes, content string) {
	fmt.Fprintf(out, `<text x="%d" y="%d" %s>`, x, y, attributes)
	_ = xml.EscapeText(out, []byte(content)) // a strings.Builder returns no error
	out.WriteString("</text>\n")
}

// number formats a value with separators of thousands.
func number(v float64) string {
	if v != math.Trunc(v) {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
