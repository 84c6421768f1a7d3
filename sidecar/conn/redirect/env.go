package redirect

import (
	"fmt"
	"strconv"
	"strings"
)

// The environment that the webhook gives the init container.
const (
	EnvInboundPort   = "POSTERN_INBOUND_PORT"
	EnvAdminPort     = "POSTERN_ADMIN_PORT"
	EnvExcludedPorts = "POSTERN_EXCLUDED_PORTS" // decimal, separated by commas; may be empty
)

const (
	defaultInboundPort = 15990
	defaultAdminPort   = 15991
)

// FromEnv reads a Config by getenv, which is os.Getenv or a test's own.
func FromEnv(getenv func(string) string) (Config, error) {
	inbound, err := portOr(getenv, EnvInboundPort, defaultInboundPort)
	if err != nil {
		return Config{}, err
	}
	admin, err := portOr(getenv, EnvAdminPort, defaultAdminPort)
	if err != nil {
		return Config{}, err
	}
	c := Config{InboundPort: inbound, AdminPort: admin}
	for part := range strings.SplitSeq(getenv(EnvExcludedPorts), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		port, err := parsePort(EnvExcludedPorts, part)
		if err != nil {
			return Config{}, err
		}
		c.ExcludedPorts = append(c.ExcludedPorts, port)
	}
	if err := c.validate(); err != nil {
		return Config{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return c, nil
}

func portOr(getenv func(string) string, name string, otherwise uint16) (uint16, error) {
	value := getenv(name)
	if value == "" {
		return otherwise, nil
	}
	return parsePort(name, value)
}

func parsePort(name, value string) (uint16, error) {
	port, err := strconv.ParseUint(value, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%w: %s has %q, want a port from 1 to 65535", ErrConfig, name, value)
	}
	return uint16(port), nil
}
