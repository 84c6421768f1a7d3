package boilerplate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/posterndev/postern/api/check"
)

// Bounds of a text with rates.
const (
	maxRateText = 256 // bytes
	maxRates    = 8
)

// ParseRates reads the limits of slowapi, limits, Flask-Limiter, django-ratelimit and Django REST framework: "5/minute", "100 per hour",
// "5 per 15 minutes", "10/m", "5/10s", and several of them with ; , or | between. It returns each as a policy writes it.
func ParseRates(text string) ([]string, error) {
	if len(text) > maxRateText {
		return nil, fmt.Errorf("a rate has at most %d bytes", maxRateText)
	}
	var rates []string
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(";,|\n", r) }) {
		rate, err := parseRate(part)
		if err != nil {
			return nil, err
		}
		rates = append(rates, rate)
	}
	if len(rates) == 0 || len(rates) > maxRates {
		return nil, fmt.Errorf("there are %d rates; write 1 to %d, such as 5/minute;100/day", len(rates), maxRates)
	}
	return rates, nil
}

// seconds of the units that the libraries know. A month is 30 days, as limits has it.
var seconds = map[string]int64{
	"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hr": 3600, "hour": 3600,
	"d": 86400, "day": 86400, "week": 7 * 86400, "month": 30 * 86400, "year": 365 * 86400,
}

func parseRate(text string) (string, error) {
	bad := fmt.Errorf("it is not a rate such as 5/minute, 100 per hour or 10/m")
	text = strings.ToLower(strings.TrimSpace(text))
	number, period, ok := strings.Cut(text, "/")
	if !ok {
		number, period, ok = strings.Cut(text, " per ")
	}
	number, period = strings.TrimSpace(number), strings.TrimSpace(period)
	unit := strings.TrimLeft(period, "0123456789")
	count, multiple := period[:len(period)-len(unit)], int64(1)
	if count != "" {
		n, err := strconv.ParseInt(count, 10, 32)
		if err != nil || n < 1 {
			return "", bad
		}
		multiple = n
	}
	unit = strings.TrimSpace(unit)
	each, known := seconds[unit]
	if !known {
		each, known = seconds[strings.TrimSuffix(unit, "s")]
	}
	if !ok || !known {
		return "", bad
	}
	return rateOf(number, each*multiple)
}

// rateOf returns a rate as a policy writes it. The period is in seconds.
func rateOf(number string, period int64) (string, error) {
	rate := number + "/"
	switch {
	case period == 1:
		rate += "second"
	case period == 60:
		rate += "minute"
	case period == 3600:
		rate += "hour"
	case period == 86400:
		rate += "day"
	case period%3600 == 0:
		rate += strconv.FormatInt(period/3600, 10) + "h"
	case period%60 == 0:
		rate += strconv.FormatInt(period/60, 10) + "m"
	default:
		rate += strconv.FormatInt(period, 10) + "s"
	}
	n, d, err := check.ParseRate(rate)
	if err != nil {
		return "", err
	}
	return rate, check.Rate(n, d)
}
