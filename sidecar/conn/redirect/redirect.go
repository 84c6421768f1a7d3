// Package redirect sends a pod's inbound TCP to the sidecar, with nftables over netlink. It runs once, in an init container with
// NET_ADMIN, in the pod's network namespace. The sidecar itself needs no privilege: it asks the kernel for the original
// destination of each connection.
//
// Traffic on the loopback interface is not changed: containers of one pod trust each other, and the sidecar reaches the app over
// loopback. A packet that is not redirected, whatever the reason, does not reach the app: a second chain drops it.
package redirect

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/google/nftables"
)

// Config says which ports are redirected.
type Config struct {
	// InboundPort is where the sidecar accepts redirected connections.
	InboundPort uint16
	// AdminPort is the sidecar's own port for probes and metrics. It is not redirected.
	AdminPort uint16
	// ExcludedPorts are not redirected either: their listeners can be reached without the sidecar.
	ExcludedPorts []uint16
}

// maxExcluded bounds ExcludedPorts: each is a rule that every new connection is compared with.
const maxExcluded = 64

func (c Config) validate() error {
	if c.InboundPort == 0 || c.AdminPort == 0 {
		return errors.New("inbound and admin ports must not be 0")
	}
	if c.InboundPort == c.AdminPort {
		return fmt.Errorf("inbound and admin port are both %d", c.InboundPort)
	}
	if slices.Contains(c.ExcludedPorts, 0) {
		return errors.New("excluded ports must not contain 0")
	}
	if slices.Contains(c.ExcludedPorts, c.InboundPort) {
		return fmt.Errorf("excluded ports must not contain the inbound port %d", c.InboundPort)
	}
	if len(c.ExcludedPorts) > maxExcluded {
		return fmt.Errorf("%d excluded ports, at most %d are possible", len(c.ExcludedPorts), maxExcluded)
	}
	return nil
}

// Why programming failed. Each has a different remedy.
var (
	// ErrConfig is an invalid Config.
	ErrConfig = errors.New("invalid configuration")
	// ErrPermission is that the process lacks NET_ADMIN.
	ErrPermission = errors.New("no permission to program nftables: the container needs the capability NET_ADMIN and user 0; " +
		"if that is not allowed, use the interception mode Takeover")
	// ErrUnsupported is a kernel without nftables' NAT.
	ErrUnsupported = errors.New("the node's kernel cannot redirect with nftables (modules nf_tables, nft_chain_nat, nft_redir); " +
		"load them, or use the interception mode Takeover")
	// ErrMismatch means that the kernel's rules, read back, differ from the requested ones.
	ErrMismatch = errors.New("the rules in the kernel differ from the requested rules")
)

// Program applies c in the current network namespace atomically, replaces the rules of an earlier run, and reads the rules back.
// It changes only postern's own tables.
func Program(c Config) error {
	if err := c.validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("opening netlink: %w", classify(err))
	}
	err = c.program(conn, nftables.TableFamilyINet)
	if errors.Is(err, ErrUnsupported) { // NAT in the inet family came with Linux 5.2
		err = c.program(conn, nftables.TableFamilyIPv4, nftables.TableFamilyIPv6)
	}
	return err
}

// program replaces all of postern's tables by one for each of families.
func (c Config) program(conn *nftables.Conn, families ...nftables.TableFamily) error {
	old, err := conn.ListTables()
	if err != nil {
		return fmt.Errorf("listing tables: %w", classify(err))
	}
	for _, table := range old {
		if table.Name == tableName {
			conn.DelTable(table)
		}
	}
	for _, family := range families {
		c.add(conn, family)
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("programming nftables: %w", classify(err))
	}
	return c.verify(conn, families)
}

// classify adds the remedy's error to err.
func classify(err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w (%w)", ErrPermission, err)
	case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EAFNOSUPPORT), errors.Is(err, syscall.EPROTONOSUPPORT),
		errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("%w (%w)", ErrUnsupported, err)
	}
	return err
}
