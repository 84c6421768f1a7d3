package pace

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	type read struct {
		waited time.Duration
		n      int
	}
	tests := map[string]struct {
		rate  int
		reads []read
		want  time.Duration
	}{
		"nothing yet":                    {100, nil, 20 * time.Second},
		"silence":                        {100, []read{{20 * time.Second, 0}}, 0},
		"exactly the rate":               {100, []read{{10 * time.Second, 1000}, {10 * time.Second, 1000}, {10 * time.Second, 1000}}, 20 * time.Second},
		"half the rate":                  {100, []read{{10 * time.Second, 500}, {10 * time.Second, 500}, {10 * time.Second, 500}}, 5 * time.Second},
		"much at once earns no more":     {100, []read{{0, 1 << 20}, {15 * time.Second, 0}}, 5 * time.Second},
		"a byte each second":             {240, []read{{10 * time.Second, 10}, {10 * time.Second, 10}}, 20 * time.Second / 240},
		"longer than there was time for": {100, []read{{time.Minute, 1}}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := New(tt.rate, 20*time.Second)
			for _, r := range tt.reads {
				p.Spend(r.waited, r.n)
			}
			if got := p.Wait(time.Hour); got-tt.want > time.Millisecond || tt.want-got > time.Millisecond {
				t.Errorf("%s left; want %s", got, tt.want)
			}
		})
	}
	none := New(0, 20*time.Second)
	none.Spend(time.Hour, 0)
	if got := none.Wait(time.Hour); got != time.Hour {
		t.Errorf("without a rate: %s", got)
	}
}
