package compression

import (
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/field"
)

// coding is a content coding, in order of preference.
type coding int

const (
	codingZstd coding = iota
	codingBrotli
	codingGzip
	numCodings
	// identity leaves the body unchanged.
	identity = numCodings
)

// name returns the coding's registered name.
func (c coding) name() string { return [...]string{"zstd", "br", "gzip", "identity"}[c] }

// negotiate returns the coding with the highest weight. A client that accepts none of ours gets identity, also if it
// sends identity;q=0: an unencoded response is better than none (RFC 9110 §12.5.3).
func negotiate(lines []string) coding {
	const unset = -1
	weights := [numCodings]int{unset, unset, unset}
	star := unset
	for element := range field.Elements(lines) {
		name, params, _ := strings.Cut(element, ";")
		weight, ok := parseWeight(params)
		if !ok {
			continue
		}
		switch strings.ToLower(strings.TrimRight(name, " \t")) {
		case "zstd":
			weights[codingZstd] = weight
		case "br":
			weights[codingBrotli] = weight
		case "gzip", "x-gzip":
			weights[codingGzip] = weight
		case "*":
			star = weight
		}
	}
	best, bestWeight := identity, 0
	for c, weight := range weights {
		if weight == unset {
			weight = star
		}
		if weight > bestWeight {
			best, bestWeight = coding(c), weight
		}
	}
	return best
}

// parseWeight reads ";q=0.5" after the semicolon, in thousandths (RFC 9110 §12.4.2). An empty text is 1000. If the
// text is not a weight, ok is false and the element is skipped.
func parseWeight(params string) (weight int, ok bool) {
	params = strings.Trim(params, " \t")
	if params == "" {
		return 1000, true
	}
	name, value, found := strings.Cut(params, "=")
	if !found || !strings.EqualFold(name, "q") || value == "" || len(value) > len("0.000") {
		return 0, false
	}
	whole, fraction, _ := strings.Cut(value, ".")
	if whole != "0" && whole != "1" {
		return 0, false
	}
	weight = int(whole[0]-'0') * 1000
	unit := 100
	for i := range len(fraction) {
		digit := fraction[i]
		if digit < '0' || digit > '9' {
			return 0, false
		}
		weight += int(digit-'0') * unit
		unit /= 10
	}
	return weight, weight <= 1000
}
