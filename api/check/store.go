package check

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// RedisAddress refuses what is not host:port.
func RedisAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || !isPort(port) {
		return fmt.Errorf("%.128q is not host:port; write one as redis.example.com:6379", address)
	}
	return nil
}

// CIDR refuses what is not a network of addresses.
func CIDR(cidr string) error {
	if _, err := netip.ParsePrefix(cidr); err != nil {
		return fmt.Errorf("%.64q is not a CIDR; write one as 10.0.0.0/8 or 2001:db8::/32", cidr)
	}
	return nil
}

// maxVaultPath bounds a path in Vault, in bytes.
const maxVaultPath = 512

// VaultPath refuses what is not a path in Vault, of an engine or below one.
func VaultPath(path string) error {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/_-.@:=+ ", r)
	}
	if len(path) > maxVaultPath || strings.ContainsFunc(path, func(r rune) bool { return !plain(r) }) {
		return fmt.Errorf("%.64q is not a path of up to %d letters, digits and the signs / _ - . @ : = +", path, maxVaultPath)
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.TrimSpace(segment) != segment {
			return fmt.Errorf("%.64q is not a path: a part of it is empty, a dot segment, or starts or ends with a space", path)
		}
	}
	return nil
}

// VaultSecretPath refuses what is not the path of a secret, with the mount of its engine.
func VaultSecretPath(path string) error {
	if err := VaultPath(path); err != nil {
		return err
	}
	if !strings.Contains(path, "/") {
		return fmt.Errorf("%.64q has no secret's name after the mount; write it as secret/shop/redis", path)
	}
	return nil
}

// VaultKey refuses what is not a key among a secret's data.
func VaultKey(key string) error {
	if key == "" || len(key) > maxVaultPath {
		return errors.New("a key of 1 to 512 bytes is needed")
	}
	return nil
}

// TransitKey refuses what is not the name of a key of Vault's Transit engine.
func TransitKey(key string) error {
	if strings.ContainsAny(key, "/ ") || VaultPath(key) != nil {
		return fmt.Errorf("%.64q is not the name of a Transit key; write letters, digits and hyphens", key)
	}
	return nil
}
