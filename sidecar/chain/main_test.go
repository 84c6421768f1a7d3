package chain

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// parallelTests is how many parallel tests run at once unless -parallel says otherwise. Most of them wait for timeouts, and use little CPU.
const parallelTests = "3"

func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		if err := flag.Set("test.parallel", parallelTests); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}
