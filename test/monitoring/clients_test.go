package monitoring

import "sync/atomic"

// clients are users, and attackers while attack is set.
type clients struct {
	s      *sidecar
	attack atomic.Bool
	// access and token are of the user's session.
	access, token string
}

// round sends some requests.
func (c *clients) round(i int) {
	if c.access == "" || i%50 == 0 {
		c.access, c.token = c.s.login("right")
	}
	for range 3 {
		c.s.send("GET", "/orders/7", "application/json", "", c.access)
	}
	c.s.send("GET", "/public/page", "application/json", "", "")
	if i%5 == 0 {
		c.s.send("GET", "/public/broken", "application/json", "", "")
		c.s.send("POST", "/password/reset", "application/json", `{"email":"ada@example.com"}`, "")
		c.s.send("GET", "/orders/7", "application/json", "", "no.token.x")
	}
	if !c.attack.Load() {
		return
	}
	for range 5 {
		c.s.login("wrong")
		c.s.send("GET", "/orders/7", "application/json", "", "no.token.x")
	}
	stolen := c.token
	c.s.refresh(stolen)
	c.s.refresh(stolen)
}
