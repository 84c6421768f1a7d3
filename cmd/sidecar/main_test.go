package main

import (
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// TestBinary holds what every sidecar pays for what is linked, whether or not its policy needs it.
func TestBinary(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the sidecar runs on Linux")
	}
	binary := filepath.Join(t.TempDir(), "sidecar")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Run("no method is called by a name that the linker does not know", func(t *testing.T) { linked(t, binary) })
	t.Run("initialization", func(t *testing.T) { initialized(t, binary) })
}

// linked looks for the part of text/template, and so of html/template, that calls methods by their names. With it the linker keeps every exported
// method of every type: 10 MiB of code that nothing calls.
func linked(t *testing.T, binary string) {
	file, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	symbols, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	main := false
	for _, s := range symbols {
		main = main || s.Name == "main.main"
		if s.Name == "text/template.(*state).evalField" {
			t.Errorf("%s is linked: build with -ldflags=-dumpdep to see what uses it, and write the text without a template", s.Name)
		}
	}
	if !main {
		t.Error("the binary has no symbols")
	}
}

// kib is the unit of the limits.
const kib = 1 << 10

// initialized bounds what the packages of the binary allocate before main begins. Packages of ours build their tables and regular expressions when
// a policy needs them: then the start is fast, and a policy without them does not have them in memory.
func initialized(t *testing.T, binary string) {
	const ours = "github.com/posterndev/postern/"
	limits := map[string]int{ // of packages with more than the usual; of libraries, by the start of their names, in all
		"": 1500 * kib, ours: 80 * kib, ours + "api/check": 64 * kib,
		"github.com/google/cel-go/": 160 * kib, "github.com/jackc/": 16 * kib, "github.com/redis/": 24 * kib, "go.opentelemetry.io/": 80 * kib,
		"github.com/hashicorp/vault/": 330 * kib,
	}
	const usual = 8 * kib
	allocated := map[string]int{}
	for name, bytes := range initTrace(t, binary) {
		for prefix := range limits {
			if strings.HasPrefix(name, prefix) {
				allocated[prefix] += bytes
			}
		}
		if strings.HasPrefix(name, ours) && limits[name] == 0 && bytes > usual {
			t.Errorf("initializing %s allocates %d bytes, want at most %d: use sync.OnceValue", name, bytes, usual)
		}
	}
	for prefix, limit := range limits {
		if got := allocated[prefix]; got == 0 || got > limit {
			t.Errorf("initializing the packages %s* allocates %d bytes, want more than 0 and at most %d", prefix, got, limit)
		}
	}
}

// initTrace returns the bytes that the initialization of each package allocates. Without its environment the sidecar ends at once.
func initTrace(t *testing.T, binary string) map[string]int {
	t.Helper()
	cmd := exec.Command(binary)
	cmd.Env = []string{"GODEBUG=inittrace=1"}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Fatalf("want exit code 2 without an environment, got %v\n%s", err, out)
	}
	bytes := map[string]int{}
	for _, found := range regexp.MustCompile(`(?m)^init (\S+) @.* clock, (\d+) bytes`).FindAllStringSubmatch(string(out), -1) {
		bytes[found[1]], _ = strconv.Atoi(found[2])
	}
	return bytes
}
