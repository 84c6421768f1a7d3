package share

import "testing"

func TestCounter(t *testing.T) {
	var c Counter[string]
	if c.Of("a") != 0 || c.Remove("a") != 0 || c.Holders() != 0 {
		t.Error("an empty counter has holders")
	}
	if first, second := c.Add("a"), c.Add("a"); first != 1 || second != 2 || c.Add("b") != 1 || c.Holders() != 2 {
		t.Errorf("counted %v", c.held)
	}
	if c.Remove("a") != 1 || c.Of("a") != 1 || c.Of("b") != 1 {
		t.Errorf("after one less: %v", c.held)
	}
	if last, none := c.Remove("a"), c.Remove("a"); last != 0 || none != 0 || c.Of("a") != 0 || c.Holders() != 1 {
		t.Errorf("a holder of nothing is kept: %v", c.held)
	}
}
