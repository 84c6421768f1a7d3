package listen

// Shutdown stops accepting and returns after every listener has closed. Connections that the kernel had completed are
// still served. Established connections are not changed: http.Server and Config.TCP drain them, and are shut down
// after this. From then on the kernel refuses new connections. Under Redirect the rules still point at the closed
// port, so that the app is never reached without the sidecar.
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
