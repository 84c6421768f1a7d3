package check

import "github.com/posterndev/postern/api/compiled"

// maxInFlight bounds the requests of one key: each is a member of one sorted set in Redis. It is that of the CRD.
const maxInFlight = 100_000

// rateOrInFlight checks what a limit limits: a rate, the requests in progress, or both.
func (c *checker) rateOrInFlight(field string, l *compiled.RateLimit) {
	if n := l.MaxInFlight; n < 0 || n > maxInFlight {
		c.addf(field+".maxInFlight", "%d is not between 1 and %d; write how many requests of one key may be in progress at once, for example 10", n, maxInFlight)
	}
	if l.Limit != 0 || l.MaxInFlight == 0 {
		if err := Rate(l.Limit, l.Period.Std()); err != nil {
			c.add(field+".limit", err)
		} else {
			c.add(field+".burst", Burst(l.Limit, l.Period.Std(), l.Burst))
		}
		return
	}
	const without = "it changes limit, and there is none; write limit, for example 100/minute, or leave it out"
	if l.Burst != 0 {
		c.addf(field+".burst", without)
	}
	if l.LimitByClaim != nil {
		c.addf(field+".limitByClaim", without)
	}
	if l.Cost != nil {
		c.addf(field+".cost", without)
	}
}
