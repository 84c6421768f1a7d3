package server

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestCleanMappings: only what the kernel can read from the file again is unmapped.
func TestCleanMappings(t *testing.T) {
	for name, tc := range map[string]struct {
		header, anonymous string
		want              []mapping
	}{
		"code":                 {"00400000-0105d000 r-xp 00000000 fe:00 2364 /sidecar", "0 kB", []mapping{{0x400000, 0x105d000}}},
		"tables":               {"0105d000-01f59000 r--p 00c5d000 fe:00 2364 /sidecar", "0 kB", []mapping{{0x105d000, 0x1f59000}}},
		"a replaced binary":    {"00400000-0105d000 r-xp 00000000 fe:00 2364 /sidecar (deleted)", "0 kB", []mapping{{0x400000, 0x105d000}}},
		"a high address":       {"7f4e14632000-7f4e14658000 r--p 00000000 fe:00 11 /lib/libc.so.6", "0 kB", []mapping{{0x7f4e14632000, 0x7f4e14658000}}},
		"relocated tables":     {"0105d000-01f59000 r--p 00c5d000 fe:00 2364 /sidecar", "4 kB", nil},
		"variables":            {"01f59000-020bb000 rw-p 01b59000 fe:00 2364 /sidecar", "0 kB", nil},
		"a shared file":        {"7f4e14632000-7f4e14658000 r--s 00000000 fe:00 11 /spool/segment", "0 kB", nil},
		"the heap":             {"c000000000-c000400000 rw-p 00000000 00:00 0", "0 kB", nil},
		"reserved memory":      {"c000400000-c004000000 ---p 00000000 00:00 0", "0 kB", nil},
		"code of the kernel":   {"7f6a8da65000-7f6a8da67000 r-xp 00000000 00:00 0 [vdso]", "0 kB", nil},
		"no range":             {"00400000 r-xp 00000000 fe:00 2364 /sidecar", "0 kB", nil},
		"a range of no length": {"00400000-00400000 r-xp 00000000 fe:00 2364 /sidecar", "0 kB", nil},
	} {
		t.Run(name, func(t *testing.T) {
			smaps := tc.header + "\nSize:               4 kB\nAnonymous:          " + tc.anonymous + "\nVmFlags: rd ex mr mw me\n"
			if got := cleanMappings([]byte(smaps)); !slices.Equal(got, tc.want) {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}

// TestUnmapStartPages: the code of this very test is unmapped, and runs on.
func TestUnmapStartPages(t *testing.T) {
	before := residentFilePages(t)
	if err := unmapStartPages(); err != nil {
		t.Fatal(err)
	}
	if after := residentFilePages(t); after > before/2 {
		t.Errorf("%d KiB of files are resident, and %d KiB were before", after, before)
	}
}

// residentFilePages returns the size of the resident pages of files in KiB: proc_pid_status(5).
func residentFilePages(t *testing.T) (kib int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, value, _ := strings.Cut(string(status), "RssFile:")
	if _, err := fmt.Sscan(value, &kib); err != nil {
		t.Fatalf("reading RssFile in\n%s: %v", status, err)
	}
	return kib
}
