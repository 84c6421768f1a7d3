package listen

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	// firstPause and maxPause bound the wait after an accept error (no file descriptors left, no memory): connections stay in
	// the backlog meanwhile.
	firstPause, maxPause = 5 * time.Millisecond, time.Second
	// backlogTime is how long a listener that stops goes on to accept what the kernel has already completed: closing it would
	// reset those.
	backlogTime = 50 * time.Millisecond
)

// locator says which of the app's addresses conn is for, or why it is refused.
type locator func(conn *net.TCPConn, inbound uint16) (netip.AddrPort, Refusal)

// direct is Takeover's and Plain's: the client's address is the socket's.
func direct(conn *net.TCPConn, _ uint16) (netip.AddrPort, Refusal) {
	if local, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		return unmap(local.AddrPort()), ""
	}
	return netip.AddrPort{}, Untracked
}

// redirected asks the kernel. What was not redirected came to the inbound port itself: the sidecar would call itself.
func redirected(conn *net.TCPConn, inbound uint16) (netip.AddrPort, Refusal) {
	local, err := originalDestination(conn)
	switch {
	case err != nil:
		return netip.AddrPort{}, Untracked
	case local.Port() == inbound:
		return local, Direct
	}
	return local, ""
}

// acceptor is one listening socket.
type acceptor struct {
	set     *Set
	tcp     *net.TCPListener
	locate  locator
	inbound uint16
	stop    chan struct{} // closed by drain or drop, whose caller takes the acceptor out of Set.bound
}

// drain makes run end, once it has emptied the backlog.
func (a *acceptor) drain() {
	close(a.stop)
	_ = a.tcp.SetDeadline(time.Now().Add(backlogTime)) // where it cannot be set, the socket is closed already
}

// drop makes run end at once: what waits in the backlog would be refused anyway.
func (a *acceptor) drop() {
	close(a.stop)
	_ = a.tcp.Close() // the address is free in any case
}

// run accepts until drain or drop. It never gives up on an error, nor spins on one.
func (a *acceptor) run() {
	defer a.tcp.Close()
	pause := firstPause
	for {
		conn, err := a.tcp.AcceptTCP()
		if err == nil {
			pause = firstPause
			a.dispatch(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		a.set.log.Warn("accepting connections", "addr", a.tcp.Addr().String(), "pause", pause, "error", err)
		if !a.sleep(pause) {
			return
		}
		pause = min(pause*2, maxPause)
	}
}

// takePlace waits until there are fewer connections than allowed. It returns false where the listener was closed first.
func (a *acceptor) takePlace() bool {
	select {
	case a.set.places <- struct{}{}:
		return true
	default:
	}
	select {
	case a.set.places <- struct{}{}:
		return true
	case <-a.stop:
		return false
	}
}

// sleep returns false where the listener was closed meanwhile.
func (a *acceptor) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.stop:
		return false
	}
}

// dispatch hands tcp to who serves its port.
func (a *acceptor) dispatch(tcp *net.TCPConn) {
	local, why := a.locate(tcp, a.inbound)
	conn := newConn(tcp, local, func() { <-a.set.places })
	if !a.takePlace() {
		conn.release = func() {}
		why = Stopped
	}
	if why != "" {
		a.set.refuse(conn, why)
		return
	}
	switch a.set.config.Decide(local) {
	case HTTP:
		if a.set.config.Handshake == nil {
			a.set.deliver(conn)
			return
		}
		go func() {
			if a.set.handshake(conn) {
				a.set.deliver(conn)
			}
		}()
	case TCP:
		go func() {
			defer conn.Close()
			a.set.config.TCP(conn)
		}()
	default:
		a.set.refuse(conn, Undeclared)
	}
}

// deliver hands conn to the HTTP server.
func (s *Set) deliver(conn *Conn) {
	if !s.http.deliver(conn) {
		s.refuse(conn, Stopped)
	}
}

func (s *Set) refuse(conn *Conn, why Refusal) {
	conn.reset()
	if s.config.OnRefuse != nil {
		s.config.OnRefuse(conn.local, why)
	}
}
