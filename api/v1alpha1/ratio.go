package v1alpha1

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Float returns the number.
func (r Ratio) Float() (float64, error) {
	f, err := strconv.ParseFloat(string(r), 64)
	if err != nil {
		return 0, fmt.Errorf("%.32q is not a number; write one from 0 to 1, for example 0.1", string(r))
	}
	return f, nil
}

// MarshalJSON writes the number as it was read. An empty one is 0.
func (r Ratio) MarshalJSON() ([]byte, error) {
	if r == "" {
		return []byte("0"), nil
	}
	if _, err := r.Float(); err != nil || !json.Valid([]byte(r)) {
		return nil, fmt.Errorf("%.32q is not a number", string(r))
	}
	return []byte(r), nil
}

// UnmarshalJSON reads a JSON number.
func (r *Ratio) UnmarshalJSON(b []byte) error {
	var n json.Number
	if len(b) > 0 && b[0] == '"' {
		return fmt.Errorf("%.32s is a text; write a number from 0 to 1, for example 0.1", b)
	}
	if err := json.Unmarshal(b, &n); err != nil {
		return fmt.Errorf("%.32s is not a number: %w", b, err)
	}
	*r = Ratio(n)
	return nil
}
