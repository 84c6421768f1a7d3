package check

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of a rate. MaxRatePeriod limits how long stores keep a key. MaxRateSpan is the maximum time in which a full burst
// becomes available again; it keeps every sum exact in the doubles of a Redis script (2^53 microseconds are 285 years).
const (
	MaxRatePeriod = 31 * 24 * time.Hour
	minRatePeriod = time.Second
	MaxRateSpan   = 366 * 24 * time.Hour
)

// ParseRate reads a rate as it is written in a policy, for example "5/minute" or "100/15m". It returns the number of requests
// (1 to 999999999) and their period (1s to MaxRatePeriod).
func ParseRate(s string) (count int, period time.Duration, err error) {
	number, unit, ok := strings.Cut(s, "/")
	if !ok {
		return 0, 0, fmt.Errorf("rate %.64q is not requests/period; write for example 5/minute or 100/15m", s)
	}
	if count, err = parseCount(number); err != nil {
		return 0, 0, fmt.Errorf("rate %.64q: %w", s, err)
	}
	if period, err = parsePeriod(unit); err != nil {
		return 0, 0, fmt.Errorf("rate %.64q: %w", s, err)
	}
	return count, period, nil
}

func parseCount(s string) (int, error) {
	if len(s) == 0 || len(s) > 9 || s[0] < '1' || s[0] > '9' {
		return 0, fmt.Errorf("%.64q is not a number from 1 to 999999999", s)
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%.64q is not a number from 1 to 999999999", s)
	}
	return int(n), nil
}

func parsePeriod(s string) (time.Duration, error) {
	named := map[string]time.Duration{"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}
	if d, ok := named[s]; ok {
		return d, nil
	}
	units := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}
	digits := s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
	unit, ok := units[s[len(digits):]]
	if !ok || len(digits) == 0 || len(digits) > 6 || digits[0] == '0' {
		return 0, fmt.Errorf("the period %.64q is not valid; write second, minute, hour, day or a duration in s, m or h, for example 15m", s)
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("the period %.64q is not valid: %w; write for example 15m", s, err)
	}
	if d := time.Duration(n) * unit; d <= MaxRatePeriod {
		return d, nil
	}
	return 0, fmt.Errorf("the period %s is longer than %s; write a shorter one, for example 24h", s, MaxRatePeriod)
}

// Rate refuses a limit that cannot be counted exactly in whole microseconds.
func Rate(limit int, period time.Duration) error {
	switch {
	case limit < 1:
		return fmt.Errorf("limit %d is not positive; write for example 5/minute", limit)
	case period < minRatePeriod:
		return fmt.Errorf("period %s is shorter than %s; write for example 5/minute", period, minRatePeriod)
	case int64(limit) > period.Microseconds():
		return fmt.Errorf("%d in %s is more than one request per microsecond; write at most %d", limit, period, period.Microseconds())
	}
	return nil
}

// Burst refuses a burst that takes too long to become available again. Rate must have accepted limit and period.
func Burst(limit int, period time.Duration, burst int) error {
	if burst < 1 {
		return fmt.Errorf("burst %d is not positive; write 1 or greater, or leave it out to use the number of the limit", burst)
	}
	if most := MaxRateSpan.Microseconds() / Emission(limit, period).Microseconds(); int64(burst) > most {
		return fmt.Errorf("a burst of %d takes longer than %s to become available again; write at most %d, or a higher limit", burst, MaxRateSpan, most)
	}
	return nil
}

// Emission returns the time in which the quota of one request becomes available again, in whole microseconds. It is rounded up,
// so that never more than limit requests pass in a period.
func Emission(limit int, period time.Duration) time.Duration {
	micros := (period.Microseconds() + int64(limit) - 1) / int64(limit)
	return time.Duration(micros) * time.Microsecond
}
