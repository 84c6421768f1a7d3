package listen

// Shutdown stops accepting and returns when every listener has closed. Connections that the kernel had completed are
// still served, and established ones are untouched: they are http.Server's and Config.TCP's to drain, whose shutdown
// comes after this. From then on the kernel refuses: under Redirect too, where the rules go on to point at the closed
// port, so that the app is never reached around the sidecar.
func (s *Set) Shutdown() {
	s.mu.Lock()
	s.stopped = true
	for _, cancel := range s.takes {
		cancel()
	}
	for addr, a := range s.bound {
		a.drain()
		delete(s.bound, addr)
	}
	clear(s.takes)
	s.mu.Unlock()
	s.work.Wait()
}
