package framing

import "net"

// Listener returns inner with every connection inspected.
func Listener(inner net.Listener, config Config) net.Listener {
	config = config.withDefaults()
	return &listener{Listener: inner, config: &config}
}

type listener struct {
	net.Listener
	config *Config
}

// Accept returns the next connection as a *Conn.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return wrap(conn, l.config), nil
}
