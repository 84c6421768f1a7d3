package expression

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// withClaims is the request of input with the claims of a JSON object.
func withClaims(t *testing.T, text string) *Input {
	t.Helper()
	in := input()
	in.Claims = nil
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&in.Claims); err != nil {
		t.Fatal(err)
	}
	return in
}

// TestNestedValuesCost: what is inside of lists counts when they are compared. With the length of the outer list alone, these evaluations
// stayed within the limit and took seconds.
func TestNestedValuesCost(t *testing.T) {
	list := func(element string, n int) string { return "[" + strings.Repeat(element+",", n-1) + element + "]" }
	nested := "[" + list(list("1", 30), 30) + "]"
	for _, text := range []string{
		`claims.a.all(x, claims.d == claims.d)`, `!claims.a.exists(x, claims.d != claims.d)`, `claims.a.all(x, 1 in claims.d || true)`,
		`claims.a.all(x, {"a": claims.d} == {"a": claims.d})`, `claims.a.all(x, claims.d + [1] == claims.d + [1])`,
	} {
		p, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		in := withClaims(t, `{"a":`+list("1", 200)+`,"d":`+nested+`}`)
		if met, err := p.Eval(in); met || !errors.Is(err, ErrCost) {
			t.Errorf("%s: %v, %v; want ErrCost", text, met, err)
		}
		in.Claims["a"] = in.Claims["a"].([]any)[:2]
		if met, err := p.Eval(in); !met || err != nil {
			t.Errorf("%s, with two elements: %v, %v; want true", text, met, err)
		}
	}
}

// TestWeighing: the time for finding a cost is bounded by the cost itself.
func TestWeighing(t *testing.T) {
	long := make([]any, 10_000)
	a := types.NewDynamicList(adapter{}, long)
	counted := &counter{Val: types.String("x")}
	many := types.NewRefValList(adapter{}, []ref.Val{counted, counted, counted, counted})
	tests := map[string]struct{ got, want int }{
		"a number":         {weigh(types.Int(1), 100), 1},
		"a text":           {weigh(types.String(strings.Repeat("a", 95)), 100), 10},
		"a list":           {weigh(types.NewStringList(adapter{}, []string{"a", "b"}), 100), 3},
		"a map":            {weigh(types.NewStringInterfaceMap(adapter{}, map[string]any{"a": []any{1, 2}}), 100), 4},
		"the budget":       {weigh(a, 100), 100},
		"a short one":      {lighter(a, types.Int(1)), 1},
		"two long ones":    {lighter(a, a), 10_001},
		"values of values": {weigh(many, 3), 3},
	}
	for name, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: %d, want %d", name, tt.got, tt.want)
		}
	}
	if counted.n != 2 {
		t.Errorf("%d values were read, want 2", counted.n)
	}
}

// counter counts how often its value is read.
type counter struct {
	ref.Val
	n int
}

func (c *counter) Value() any { c.n++; return c.Val.Value() }

// TestLongNumbersAreNotEqual: whole numbers that doubles cannot tell apart are different, or have no value.
func TestLongNumbersAreNotEqual(t *testing.T) {
	tests := map[string]struct {
		claims, text string
		want         bool
		wantErr      error
	}{
		"unsigned":            {`{"a":18446744073709551614,"b":18446744073709551615}`, `claims.a == claims.b`, false, nil},
		"unsigned, the same":  {`{"a":18446744073709551615}`, `claims.a == 18446744073709551615u && claims.a > 1`, true, nil},
		"signed":              {`{"a":9007199254740993,"b":9007199254740992}`, `claims.a == claims.b`, false, nil},
		"more than 64 bits":   {`{"a":36893488147419103233,"b":36893488147419103232}`, `claims.a == claims.b`, false, ErrValue},
		"negated":             {`{"a":36893488147419103233,"b":36893488147419103232}`, `claims.a != claims.b`, false, ErrValue},
		"negative":            {`{"a":-36893488147419103233}`, `claims.a < 0`, false, ErrValue},
		"out of range":        {`{"a":1e999}`, `claims.a > 1`, false, ErrValue},
		"with an exponent":    {`{"a":1e3}`, `claims.a == 1000`, true, nil},
		"whole, as a decimal": {`{"a":2.0}`, `claims.a == 2`, true, nil},
		"in a list":           {`{"a":[36893488147419103233]}`, `claims.a[0] == 36893488147419103232.0`, false, ErrValue},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := Compile(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			if met, err := p.Eval(withClaims(t, tt.claims)); met != tt.want || !errors.Is(err, tt.wantErr) {
				t.Errorf("%v, %v; want %v, %v", met, err, tt.want, tt.wantErr)
			}
		})
	}
}
