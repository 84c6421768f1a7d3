package listen

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/posterndev/postern/sidecar/conn/capacity"
)

const (
	// firstPause and maxPause bound the wait after an accept error (no file descriptors or no memory left). Meanwhile
	// connections wait in the backlog.
	firstPause, maxPause = 5 * time.Millisecond, time.Second
	// backlogTime is how long a listener that stops continues to accept connections that the kernel has already
	// completed. Closing it would reset them.
	backlogTime = 50 * time.Millisecond
)

// locator returns the app's address that conn is for, or why conn is refused.
type locator func(conn *net.TCPConn, inbound uint16) (netip.AddrPort, Refusal)

// direct is the locator of Takeover and Plain: the app's address is the socket's local address.
func direct(conn *net.TCPConn, _ uint16) (netip.AddrPort, Refusal) {
	if local, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		return unmap(local.AddrPort()), ""
	}
	return netip.AddrPort{}, Untracked
}

// redirected asks the kernel. A connection that was not redirected was made to the inbound port itself: the sidecar
// would connect to itself.
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
	stop    chan struct{} // closed by drain or drop, whose caller removes the acceptor from Set.bound
}

// drain stops run after it has emptied the backlog.
func (a *acceptor) drain() {
	close(a.stop)
	_ = a.tcp.SetDeadline(time.Now().Add(backlogTime)) // on an error the socket is already closed
}

// drop stops run immediately: connections in the backlog would be refused anyway.
func (a *acceptor) drop() {
	close(a.stop)
	_ = a.tcp.Close() // the address is free even after an error
}

// run accepts connections until drain or drop. It continues after every error, with a pause.
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

// sleep returns false if the listener was closed in the meantime.
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

// dispatch passes tcp to what serves its port.
func (a *acceptor) dispatch(tcp *net.TCPConn) {
	local, why := a.locate(tcp, a.inbound)
	conn := newConn(tcp, local)
	if why == "" {
		why = a.admit(conn)
	}
	if why != "" {
		a.set.refuse(conn, why)
		return
	}
	switch a.set.config.Decide(local) {
	case HTTP:
		if !a.set.handshakes(conn.local) {
			a.set.deliver(conn)
			return
		}
		go func() {
			if a.set.handshake(conn) {
				a.set.deliver(conn)
			}
		}()
	case TCP:
		conn.place.Begin() // its bytes are not inspected, so it is never known to be idle
		go func() {
			defer conn.Close()
			a.set.config.TCP(conn)
		}()
	default:
		a.set.refuse(conn, Undeclared)
	}
}

// admit gives conn its place, or says why it gets none. It waits while no connection can close. A connection that is
// refused anyway takes no place from another.
func (a *acceptor) admit(conn *Conn) Refusal {
	if d := a.set.config.Decide(conn.local); d != HTTP && d != TCP {
		return Undeclared
	}
	place, why := a.set.config.Places.Admit(a.stop, capacity.PeerOf(conn.tcp), conn.evict)
	switch why {
	case "":
		conn.place = place
		return ""
	case capacity.Stopped:
		return Stopped
	}
	return Crowded
}

// deliver passes conn to the HTTP server.
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
