package route

// Target is the path of a request in every way that an app may read it. Most paths have one reading.
type Target struct {
	// Path is the decoded path for logs, and the first reading. An encoded slash that is part of a segment is written %2F in it.
	Path string
	// readings are all readings, in lower case if ignoreCase is set. They are nil if Path is the only one.
	readings   []string
	ignoreCase bool
}

// Readings returns the number of readings, at least 1.
func (t *Target) Readings() int { return max(1, len(t.readings)) }

// Reading returns the reading i, in lower case if rules match without regard to case.
func (t *Target) Reading(i int) string {
	if len(t.readings) == 0 {
		return t.Path
	}
	return t.readings[i]
}

// MatchReading reports whether any alternative matches method and the reading i of t.
func (m *Matcher) MatchReading(method string, t *Target, i int) bool {
	return m.match(method, t.Reading(i), t.ignoreCase)
}

// MatchAny reports whether any alternative matches method and at least one reading of t: for rules that limit.
func (m *Matcher) MatchAny(method string, t *Target) bool {
	for i := range t.Readings() {
		if m.MatchReading(method, t, i) {
			return true
		}
	}
	return false
}

// MatchEvery reports whether m matches method and every reading of t: for rules that permit.
func (m *Matcher) MatchEvery(method string, t *Target) bool {
	for i := range t.Readings() {
		if !m.MatchReading(method, t, i) {
			return false
		}
	}
	return true
}
