package check

import (
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// Bounds of the connections of a class. Fewer connections would lock clients out at normal use. A longer idle timeout
// would keep the connections of clients that are gone.
const (
	minConnections = 16
	maxConnections = 1_000_000
	minIdleTimeout = time.Second
	maxIdleTimeout = time.Hour
)

// connections checks a section of the SidecarClass.
func (c *checker) connections(s *compiled.Connections) {
	const field = "sidecarClass.spec.connections"
	if s == nil {
		return
	}
	if s.Max != 0 && (s.Max < minConnections || s.Max > maxConnections) {
		c.addf(field+".max", "%d is not between %d and %d; write a number in that range, for example 2000", s.Max, minConnections, maxConnections)
	}
	switch {
	case s.MaxPerAddress < 0 || s.MaxPerAddress > maxConnections:
		c.addf(field+".maxPerAddress", "%d is not between 1 and %d; write a number in that range, for example 500", s.MaxPerAddress, maxConnections)
	case s.Max > 0 && s.MaxPerAddress > s.Max:
		c.addf(field+".maxPerAddress", "%d is greater than max (%d), so it would never apply; write at most max", s.MaxPerAddress, s.Max)
	}
	if d := s.IdleTimeout.Std(); d < minIdleTimeout || d > maxIdleTimeout {
		c.addf(field+".idleTimeout", "%s is not between %s and %s; write a duration in that range, for example 2m", d, minIdleTimeout, maxIdleTimeout)
	}
}
