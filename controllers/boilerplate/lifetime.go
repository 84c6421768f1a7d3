package boilerplate

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// maxLifetime bounds a lifetime: ten years.
const maxLifetime = 10 * 365 * 24 * time.Hour

// parseLifetime reads a number of unit, or if unit is 0 a text with a unit: 15m, 7d, "2 days", 12h.
func parseLifetime(text string, unit time.Duration) (time.Duration, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	digits := text[:len(text)-len(strings.TrimLeft(text, "0123456789"))]
	suffix := strings.TrimSpace(text[len(digits):])
	if suffix != "" {
		switch strings.TrimSuffix(suffix, "s") {
		case "m", "min", "minute":
			unit = time.Minute
		case "h", "hr", "hour":
			unit = time.Hour
		case "d", "day":
			unit = 24 * time.Hour
		case "w", "week":
			unit = 7 * 24 * time.Hour
		case "", "sec", "second": // the suffix s
			unit = time.Second
		default:
			unit = 0
		}
	}
	if suffix == "ms" { // without its s it looks like minutes
		unit = time.Millisecond
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case err != nil || n < 1:
		return 0, errors.New("it is not a positive number or a duration such as 15m")
	case unit == 0:
		return 0, errors.New("its unit is not known: libraries read such a number as seconds or as milliseconds")
	case n > int64(maxLifetime/unit):
		return 0, errors.New("it is longer than ten years")
	}
	return time.Duration(n) * unit, nil
}

// durationText returns d as a policy writes it, in the largest unit that fits: 15m, 168h.
func durationText(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	case d%time.Second == 0:
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	}
	return strconv.FormatInt(int64(d/time.Millisecond), 10) + "ms"
}
