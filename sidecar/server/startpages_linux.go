package server

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// unmapStartPages unmaps the pages of the process's binary, madvise(2).
func unmapStartPages() error {
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	for _, m := range cleanMappings(smaps) {
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, syscall.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("unmapping %x-%x: %w", m.from, m.to, errno)
		}
	}
	return nil
}

// mapping is a range of addresses.
type mapping struct{ from, to uintptr }

// cleanMappings returns the mappings whose content is that of a file: private, not writable, and without a page of their own. A page of their own is what a
// loader has relocated; unmapping it would undo that. proc_pid_smaps(5).
func cleanMappings(smaps []byte) []mapping {
	var out []mapping
	var current mapping
	for line := range bytes.Lines(smaps) {
		fields := strings.Fields(string(line))
		switch {
		case len(fields) >= 5 && !strings.HasSuffix(fields[0], ":"): // addresses, rights, offset, device, inode, and perhaps the file
			current = mapping{}
			if rights, inode := fields[1], fields[4]; inode != "0" && (rights == "r--p" || rights == "r-xp") {
				if _, err := fmt.Sscanf(fields[0], "%x-%x", &current.from, &current.to); err != nil {
					current = mapping{}
				}
			}
		case len(fields) == 3 && fields[0] == "Anonymous:" && fields[1] == "0" && current.to > current.from:
			out = append(out, current)
			current = mapping{}
		}
	}
	return out
}
