package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// lines draws series over time, with axes and a legend below.
func (d *drawing) lines(p *panel, b box, from *prometheus, all []series) {
	unit := p.FieldConfig.Defaults.Unit
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b series) int { return cmp.Compare(b.most(), a.most()) })
	legend := d.legend(b, all, unit)
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
	every, clock := interval(from.end.Sub(from.start)), "15:04:05"
	if every >= time.Minute {
		clock = "15:04"
	}
	for at := from.start.Truncate(every).Add(every); at.Before(from.end); at = at.Add(every) {
		at, x := at, x(float64(at.Unix()))
		if x < area.x+20 || x > area.x+area.w-20 {
			continue
		}
		d.line(x, area.y, x, area.y+area.h, "grid")
		d.text(x, area.y+area.h+16, "middle", "small", at.UTC().Format(clock))
	}
	d.line(area.x, area.y+area.h, area.x+area.w, area.y+area.h, "axis")
	for i := len(all) - 1; i >= 0; i-- { // the greatest on top
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

// legend draws the names of the series with their maximum in at most four lines at the bottom, and returns their height. Those that are 0 all
// the time are only counted.
func (d *drawing) legend(b box, all []series, unit string) (height float64) {
	const line, most = 17.0, 4
	names := make([]string, 0, len(all))
	for _, s := range all {
		if s.most() > 0 || len(all) <= most {
			names = append(names, shorten(s.name, 42)+" "+format(s.most(), unit))
		}
	}
	x, r := 0.0, 0
	var left, base []float64
	for i, name := range names {
		w := textWidth(name) + 32
		reserve := 0.0 // for the number of the others, in the last line
		if r == most-1 && i < len(all)-1 {
			reserve = textWidth("and 99 more, 99 are 0")
		}
		if x > 0 && x+w+reserve > b.w {
			x, r = 0, r+1
		}
		if r == most {
			break
		}
		left, base = append(left, b.x+x), append(base, line*float64(r))
		x += w
	}
	rows := float64(min(r, most-1) + 1)
	if r == most {
		x = left[len(left)-1] - b.x + textWidth(names[len(left)-1]) + 32
	}
	top := b.y + b.h - line*rows + 12
	for i := range left {
		d.add(`<rect x="%.1f" y="%.1f" width="14" height="4" fill="%s"/>`, left[i], top+base[i]-6, palette[i%len(palette)])
		d.text(left[i]+19, top+base[i], "start", "legend", names[i])
	}
	var others []string
	if more := len(names) - len(left); more > 0 {
		others = append(others, fmt.Sprintf("and %d more", more))
	}
	if zero := len(all) - len(names); zero > 0 {
		others = append(others, fmt.Sprintf("%d are 0", zero))
	}
	rest := strings.Join(others, ", ")
	d.text(b.x+min(x, b.w-textWidth(rest)*0.9), top+line*(rows-1), "start", "small", rest)
	return line*rows + 4
}
