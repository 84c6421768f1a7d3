package main

import (
	"fmt"
	"slices"
	"time"
)

// goal is a ratio or an amount that a run is compared with. It is printed and fails nothing: times depend on the machine.
type goal struct {
	name      string
	got, most float64
	unit      string
}

// verdict says whether a goal is met; a goal whose rows were not measured has none.
func (g goal) verdict() string {
	switch {
	case g.got == 0:
		return "not measured"
	case g.got <= g.most:
		return "met"
	}
	return "not met"
}

// per returns a goal for a ratio of two measurements.
func per[T time.Duration | float64](name string, this, that T, most float64) goal {
	g := goal{name: name, most: most}
	if this > 0 && that > 0 {
		g.got = float64(this) / float64(that)
	}
	return g
}

func (s *suite) goals() error {
	list := s.requestGoals()
	rs, all := find(s.half, haproxyRS), find(s.half, posternAll)
	list = append(list, per("p99 at half load, everything in memory / HAProxy RS256", median(all.p99), median(rs.p99), 1),
		per("CPU at 2,000 requests/s, RS256 warm / HAProxy RS256", median(find(s.steady, posternWarm).cpu), median(find(s.steady, haproxyRS).cpu), 1))
	list = append(append(list, s.memoryGoals...), s.curveGoals...)
	if !slices.ContainsFunc(list, func(g goal) bool { return g.got != 0 }) {
		return nil // no row of this run has a goal
	}
	rows := [][]string{{"Goal", "at most", "measured", ""}}
	for _, g := range list {
		rows = append(rows, []string{g.name, fmt.Sprintf("%.2f%s", g.most, g.unit), fmt.Sprintf("%.2f%s", g.got, g.unit), g.verdict()})
	}
	if s.settings.rows != "" { // the page has the goals of whole runs only
		return table(s.out, "Goal", rows)
	}
	return s.publish("goals", "Goal", rows)
}

func (s *suite) requestGoals() []goal {
	list := []goal{
		per("everything in memory / HAProxy RS256", s.cost(posternAll), s.cost(haproxyRS), 0.6),
		per("everything in memory / HAProxy ES256", s.cost(posternAll), s.cost(haproxyES), 0.35),
		per("everything in memory / nginx plain", s.cost(posternAll), s.cost(nginxPlain), 1.5),
		per("no sections / HAProxy plain", s.cost(posternPlain), s.cost(haproxyPlain), 1.2),
		per("everything with Redis and an exact limit / HAProxy RS256", s.cost(posternRedis), s.cost(haproxyRS), 1.3),
		per("h2c clients, no sections / HAProxy h2c", s.cost(posternH2C), s.cost(haproxyH2C), 1.5),
	}
	for _, c := range []struct{ name, cold, peer string }{
		{"a new RS256 token each time", posternColdRS, haproxyRS}, {"a new ES256 token each time", posternColdES, haproxyES},
	} {
		g := goal{name: c.name + ", most is HAProxy's verification + 15 µs", unit: " µs", got: float64(s.cost(c.cold)) / 1e3}
		if g.most = float64(s.cost(c.peer))/1e3 + 15; s.cost(c.peer) == 0 {
			g.got = 0
		}
		list = append(list, g)
	}
	return list
}
