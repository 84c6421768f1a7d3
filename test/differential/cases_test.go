package differential

import (
	"bufio"
	_ "embed"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// seed is that of the generated cases. Another one gives others: DIFFERENTIAL_SEED.
const seed = 11

// The numbers of generated cases.
const (
	generatedRequests  = 2400
	generatedResponses = 1600
)

//go:embed testdata/requests.txt
var requestCorpus string

//go:embed testdata/targets.txt
var targetCorpus string

// allCases returns every case, or the one that DIFFERENTIAL_CASE names.
func allCases(t *testing.T) []testCase {
	t.Helper()
	from := uint64(seed)
	if text := os.Getenv("DIFFERENTIAL_SEED"); text != "" {
		var err error
		if from, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	cases := corpus(t)
	cases = append(cases, written()...)
	for i := range generatedRequests {
		cases = append(cases, generateRequest(rand.New(rand.NewPCG(from, uint64(i))), i))
	}
	for i := range generatedResponses {
		cases = append(cases, generateResponse(rand.New(rand.NewPCG(from+1, uint64(i))), i))
	}
	only := os.Getenv("DIFFERENTIAL_CASE")
	if only == "" {
		return cases
	}
	for _, c := range cases {
		if c.name == only {
			return []testCase{c}
		}
	}
	t.Fatalf("there is no case %q", only)
	return nil
}

// corpus returns the stored inputs: whole requests, and request targets.
func corpus(t *testing.T) (cases []testCase) {
	t.Helper()
	for n, line := range lines(requestCorpus) {
		text, err := strconv.Unquote(line)
		if err != nil {
			t.Fatalf("request %d of the corpus: %v", n, err)
		}
		cases = append(cases, testCase{name: fmt.Sprintf("request %d", n), bytes: text}, testCase{name: fmt.Sprintf("request %d by itself", n), bytes: text, sequential: true})
	}
	for n, line := range lines(targetCorpus) {
		cases = append(cases, testCase{name: fmt.Sprintf("target %d", n), bytes: "GET " + line + " HTTP/1.1\r\nHost: a\r\n\r\n"})
	}
	return cases
}

// lines returns the lines that are no comments.
func lines(text string) (all []string) {
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		if s.Text() != "" && !strings.HasPrefix(s.Text(), "# ") {
			all = append(all, s.Text())
		}
	}
	return all
}
