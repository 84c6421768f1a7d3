package framing

// Plan is what a client's bytes are, read from their start.
type Plan struct {
	// Messages are the complete requests.
	Messages [][]byte
	// Rest is what follows them, up to the end or the first violation.
	Rest []byte
	// InBody says that Rest has a complete head, and a part of its body.
	InBody bool
	// Refused says that the bytes violate the protocol after Rest.
	Refused bool
}

// Read returns the plan of b, with the default limits.
func Read(b []byte) Plan {
	s, plan := scanner{limits: Config{}.withDefaults().Limits}, Plan{}
	for len(b) > 0 {
		heads := s.heads
		n, v := s.advance(b)
		if v != none {
			plan.Rest, plan.Refused, plan.InBody = b[:n], true, s.heads != heads
			return plan
		}
		if s.state != atStart {
			plan.Rest, plan.InBody = b, s.heads != heads
			return plan
		}
		plan.Messages, b = append(plan.Messages, b[:n]), b[n:]
	}
	return plan
}
