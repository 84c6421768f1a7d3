package main

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// format returns a value in a unit of Grafana.
func format(v float64, unit string) string {
	if math.IsNaN(v) {
		return "–"
	}
	if math.IsInf(v, 0) {
		return "∞"
	}
	switch unit {
	case "s":
		return duration(v)
	case "percentunit":
		return number(v*100) + " %"
	case "reqps":
		return short(v) + " req/s"
	case "ops":
		return short(v) + " ops/s"
	case "cps":
		return short(v) + " /s"
	case "bytes":
		return short(v) + "B"
	case "dateTimeAsIso":
		return time.UnixMilli(int64(v)).UTC().Format(time.DateTime)
	}
	return short(v)
}

// duration returns a time in seconds in its largest unit.
func duration(v float64) string {
	size := math.Abs(v)
	for _, u := range []struct {
		least, seconds float64
		name           string
	}{{2 * 86400, 86400, "days"}, {7200, 3600, "h"}, {120, 60, "min"}, {1, 1, "s"}, {1e-3, 1e-3, "ms"}} {
		if size >= u.least {
			return number(v/u.seconds) + " " + u.name
		}
	}
	if size == 0 {
		return "0 s"
	}
	return number(v/1e-6) + " µs"
}

// short returns a number with a suffix for thousands and more.
func short(v float64) string {
	size := math.Abs(v)
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e4, "k"}} {
		if size >= u.size {
			if u.name == "k" {
				return number(v/1e3) + " k"
			}
			return number(v/u.size) + " " + u.name
		}
	}
	return number(v)
}

// number returns a number with three digits.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e5 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	if digits < 0 {
		digits = 0
	}
	if digits > 4 {
		return fmt.Sprintf("%.1e", v)
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if parsed, err := strconv.ParseFloat(text, 64); err == nil {
		return strconv.FormatFloat(parsed, 'f', -1, 64)
	}
	return text
}

// ticks returns about n round values from low to high, both included, and the new limits.
func ticks(low, high float64, n int) []float64 {
	if high <= low {
		high = low + 1
	}
	raw := (high - low) / float64(n)
	step := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5, 10} {
		if step*m >= raw {
			step *= m
			break
		}
	}
	var out []float64
	for i := math.Floor(low/step + 1e-9); ; i++ {
		out = append(out, i*step)
		if i*step >= high-step*1e-9 {
			return out
		}
	}
}
