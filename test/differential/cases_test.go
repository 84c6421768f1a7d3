package differential

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// seed is that of the generated cases. Another one gives others: DIFFERENTIAL_SEED.
const seed = 11

// The numbers of generated cases.
const (
	generatedRequests  = 2400
	generatedResponses = 1600
)

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
