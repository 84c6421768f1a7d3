package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// lines draws series over time, with axes and a legend below.
func (d *drawing) lines(p *panel, b box, from *prometheus, all []series) {
	legend := d.legend(b, all)
	unit := p.FieldConfig.Defaults.Unit
	low, high := limits(p, all)
	marks := ticks(low, high, 4)
	low, high = marks[0], marks[len(marks)-1]
	left := 0.0
	for _, v := range marks {
		left = max(left, textWidth(format(v, unit)))
	}
	area := box{b.x + left + 8, b.y + 4, b.w - left - 14, b.h - legend - 26}
	start, end := float64(from.start.UnixMilli())/1000, float64(from.end.UnixMilli())/1000
	x := func(at float64) float64 { return area.x + area.w*(at-start)/(end-start) }
	y := func(v float64) float64 { return area.y + area.h*(high-v)/(high-low) }
	for _, v := range marks {
		d.line(area.x, y(v), area.x+area.w, y(v), "grid")
		d.text(area.x-6, y(v)+4, "end", "small", format(v, unit))
	}
	every := interval(from.end.Sub(from.start))
	for at := from.start.Truncate(every).Add(every); at.Before(from.end); at = at.Add(every) {
		at, x := at, x(float64(at.Unix()))
		if x < area.x+20 || x > area.x+area.w-20 {
			continue
		}
		d.line(x, area.y, x, area.y+area.h, "grid")
		d.text(x, area.y+area.h+16, "middle", "small", at.UTC().Format("15:04:05"))
	}
	d.line(area.x, area.y+area.h, area.x+area.w, area.y+area.h, "axis")
	for i := range all {
		d.add(`<path stroke="%s" d="%s"/>`, palette[i%len(palette)], trace(&all[i], from.step, x, y))
	}
}

// trace returns the path of a series, with gaps where it has no value.
func trace(s *series, step time.Duration, x, y func(float64) float64) string {
	var b strings.Builder
	last := math.Inf(-1)
	for i, v := range s.values {
		at := s.times[i]
		if math.IsNaN(v) || math.IsInf(v, 0) {
			last = math.Inf(-1)
			continue
		}
		command := "L"
		if at-last > 1.5*step.Seconds() {
			command = "M"
			if i+1 == len(s.values) || math.IsNaN(s.values[i+1]) { // a point alone
				fmt.Fprintf(&b, "M%.1f %.1fh2", x(at)-1, y(v))
				continue
			}
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", command, x(at), y(v))
		last = at
	}
	return b.String()
}

// interval returns the time between two marks of the axis.
func interval(whole time.Duration) time.Duration {
	for _, d := range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour} {
		if whole/d <= 6 {
			return d
		}
	}
	return 6 * time.Hour
}

// legend draws the names of the series in at most four lines at the bottom, and returns their height.
func (d *drawing) legend(b box, all []series) (height float64) {
	const line, most = 17.0, 4
	type place struct {
		i, row int
		x      float64
	}
	var places []place
	x, r := 0.0, 0
	for i, s := range all {
		w := textWidth(shorten(s.name, 48)) + 30
		if x > 0 && x+w > b.w {
			x, r = 0, r+1
		}
		if r == most {
			break
		}
		places = append(places, place{i, r, x})
		x += w
	}
	rows := places[len(places)-1].row + 1
	top := b.y + b.h - line*float64(rows)
	for _, p := range places {
		left, base := b.x+p.x, top+line*float64(p.row)+12
		name := all[p.i].name
		if hidden := len(all) - len(places); hidden > 0 && p.i == len(places)-1 {
			name = fmt.Sprintf("and %d more", hidden+1)
		} else {
			d.add(`<rect x="%.1f" y="%.1f" width="14" height="4" fill="%s"/>`, left, base-6, palette[p.i%len(palette)])
		}
		d.text(left+19, base, "start", "legend", shorten(name, 48))
	}
	return line*float64(rows) + 4
}
