package v1alpha1

import (
	"encoding/json"
	"testing"
)

func TestRatio(t *testing.T) {
	for text, want := range map[string]float64{"0": 0, "1": 1, "0.1": 0.1, "1e-3": 0.001} {
		var r Ratio
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		got, err := r.Float()
		out, encodeErr := json.Marshal(r)
		if err != nil || encodeErr != nil || got != want || string(out) != text {
			t.Errorf("%s is %v, and %s: %v, %v", text, got, out, err, encodeErr)
		}
	}
	for _, text := range []string{`"0.1"`, `true`, `[1]`, `{}`} {
		var r Ratio
		if err := json.Unmarshal([]byte(text), &r); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
	for _, r := range []Ratio{"x", "0x1p-2", "NaN"} {
		if out, err := json.Marshal(r); err == nil {
			t.Errorf("%q becomes %s", r, out)
		}
	}
}
