// Package freeport finds TCP ports for programs that tests and benchmarks start.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// The ports are outside of the range that the kernel assigns to clients and to servers without a fixed port (32768 and above), and
// below the node ports of Kubernetes. Such a port could be in use before the program listens on it.
const lowest, highest, attempts = 20000, 29999, 1000

// Addresses returns n different addresses of 127.0.0.1 whose ports have no listener at any address.
func Addresses(n int) ([]string, error) {
	var addresses []string
	for range attempts {
		port := strconv.Itoa(lowest + rand.IntN(highest-lowest+1))
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			continue
		}
		defer l.Close()
		if addresses = append(addresses, net.JoinHostPort("127.0.0.1", port)); len(addresses) == n {
			return addresses, nil
		}
	}
	return nil, fmt.Errorf("there are not %d free ports between %d and %d", n, lowest, highest)
}

// A Test is a testing.TB.
type Test interface {
	Helper()
	Fatal(args ...any)
}

// Address returns one address.
func Address(t Test) string {
	t.Helper()
	addresses, err := Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	return addresses[0]
}

// Port returns the port of one address.
func Port(t Test) string {
	t.Helper()
	_, port, err := net.SplitHostPort(Address(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}
