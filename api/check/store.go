package check

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// RedisAddress refuses an address that is not host:port.
func RedisAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || !isPort(port) {
		return fmt.Errorf("%.128q is not host:port; write for example redis.example.com:6379", address)
	}
	return nil
}

// CIDR refuses a text that is not a network in CIDR notation.
func CIDR(cidr string) error {
	if _, err := netip.ParsePrefix(cidr); err != nil {
		return fmt.Errorf("%.64q is not a network in CIDR notation; write for example 10.0.0.0/8 or 2001:db8::/32", cidr)
	}
	return nil
}

// maxVaultPath is the maximum length of a path in Vault, in bytes.
const maxVaultPath = 512

// VaultPath refuses a text that is not a path in Vault: the mount of an engine, or a path below it.
func VaultPath(path string) error {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/_-.@:=+ ", r)
	}
	if len(path) > maxVaultPath || strings.ContainsFunc(path, func(r rune) bool { return !plain(r) }) {
		return fmt.Errorf("%.64q is not a path in Vault; write up to %d letters, digits, spaces and the characters / _ - . @ : = +, for example secret/shop", path, maxVaultPath)
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.TrimSpace(segment) != segment {
			return fmt.Errorf("%.64q is not a path in Vault: a segment is empty, is . or .., or starts or ends with a space; write for example secret/shop", path)
		}
	}
	return nil
}

// VaultSecretPath refuses a text that is not the path of a secret, with the mount of its engine.
func VaultSecretPath(path string) error {
	if err := VaultPath(path); err != nil {
		return err
	}
	if !strings.Contains(path, "/") {
		return fmt.Errorf("%.64q has no name of a secret after the mount; write for example secret/shop/redis", path)
	}
	return nil
}

// VaultKey refuses a text that cannot be a key in the data of a secret.
func VaultKey(key string) error {
	if key == "" || len(key) > maxVaultPath {
		return fmt.Errorf("the key has %d bytes; write 1 to %d, for example password", len(key), maxVaultPath)
	}
	return nil
}

// TransitKey refuses a text that is not the name of a key in Vault's Transit engine.
func TransitKey(key string) error {
	if strings.ContainsAny(key, "/ ") || VaultPath(key) != nil {
		return fmt.Errorf("%.64q is not the name of a Transit key; write letters, digits and hyphens, for example shop-tokens", key)
	}
	return nil
}
