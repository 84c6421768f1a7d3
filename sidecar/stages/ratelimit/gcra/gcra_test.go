package gcra

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestNewRate(t *testing.T) {
	tests := map[string]struct {
		limit, burst int
		period       time.Duration
		want         time.Duration
		wantErr      string
	}{
		"five a minute":      {limit: 5, burst: 5, period: time.Minute, want: 12 * time.Second},
		"rounded up":         {limit: 3, burst: 1, period: time.Second, want: 333334 * time.Microsecond},
		"a million a second": {limit: 1e6, burst: 1, period: time.Second, want: time.Microsecond},
		"a year's quota":     {limit: 1, burst: 366, period: 24 * time.Hour, want: 24 * time.Hour},
		"no limit":           {burst: 1, period: time.Second, wantErr: "limit 0"},
		"negative burst":     {limit: 1, burst: -1, period: time.Second, wantErr: "burst -1"},
		"short period":       {limit: 1, burst: 1, period: time.Millisecond, wantErr: "shorter than 1s"},
		"too fast":           {limit: 1e6 + 1, burst: 1, period: time.Second, wantErr: "one request per microsecond"},
		"too long":           {limit: 1, burst: 367, period: 24 * time.Hour, wantErr: "a burst of"},
		"a huge burst":       {limit: 1, burst: math.MaxInt, period: time.Second, wantErr: "a burst of"},
		"a huge period":      {limit: 1, burst: 1, period: math.MaxInt64, wantErr: "a burst of"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := NewRate(tt.limit, tt.period, tt.burst)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("error = %v; want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || got.Emission != tt.want || got.Burst != tt.burst {
				t.Errorf("NewRate = %+v, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestFiveAMinute(t *testing.T) {
	rate := Rate{Emission: 12 * time.Second, Burst: 5}
	const second = int64(1e6)
	steps := []struct {
		at        int64 // seconds
		want      bool
		wantLeft  int
		wantAfter time.Duration
	}{
		{0, true, 4, 12 * time.Second}, {0, true, 3, 12 * time.Second}, {0, true, 2, 12 * time.Second},
		{0, true, 1, 12 * time.Second}, {0, true, 0, 12 * time.Second}, {0, false, 0, 12 * time.Second},
		{11, false, 0, time.Second}, {12, true, 0, 12 * time.Second}, {13, false, 0, 11 * time.Second},
		{48, true, 2, 12 * time.Second}, {1000, true, 4, 12 * time.Second},
	}
	var arrival int64
	for i, s := range steps {
		used, ok := rate.Take(rate.Used(arrival, s.at*second))
		if ok {
			arrival = s.at*second + used.Microseconds()
		}
		left, after := rate.Left(used)
		if ok != s.want || left != s.wantLeft || after != s.wantAfter {
			t.Errorf("step %d at %d s: %v, %d left, more after %s; want %+v", i, s.at, ok, left, after, s)
		}
	}
}

// TestChargesBeyondTheQuota: after late charges a key waits until the debt is worked off, and not longer.
func TestChargesBeyondTheQuota(t *testing.T) {
	tests := map[string]struct {
		debt, charges int
		wantLeft      int
		wantAfter     time.Duration
	}{
		"within the quota":     {debt: 2, charges: 3, wantLeft: 2, wantAfter: 12 * time.Second},
		"the whole quota":      {debt: 2, charges: 5, wantAfter: 12 * time.Second},
		"one beyond":           {debt: 2, charges: 6, wantAfter: 24 * time.Second},
		"the whole debt":       {debt: 2, charges: 7, wantAfter: 36 * time.Second},
		"more than the debt":   {debt: 2, charges: 1000, wantAfter: 36 * time.Second},
		"beyond, without debt": {charges: 1000, wantAfter: 12 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rate, err := Rate{Emission: 12 * time.Second, Burst: 5}.WithDebt(tt.debt)
			if err != nil {
				t.Fatal(err)
			}
			var arrival int64
			for range tt.charges {
				arrival = rate.Charge(rate.Used(arrival, 0)).Microseconds()
			}
			left, after := rate.Left(rate.Used(arrival, 0))
			if left != tt.wantLeft || after != tt.wantAfter {
				t.Errorf("%d left, one more after %s; want %d, %s", left, after, tt.wantLeft, tt.wantAfter)
			}
			if _, ok := rate.Take(rate.Used(arrival, after.Microseconds()-1)); ok != (tt.wantLeft > 0) {
				t.Errorf("just before that, a request passes: %v", ok)
			}
			if _, ok := rate.Take(rate.Used(arrival, after.Microseconds())); !ok {
				t.Error("after that, no request passes")
			}
		})
	}
}

func TestWithDebtIsBounded(t *testing.T) {
	for debt, want := range map[int]bool{0: true, 364: true, 365: false, -1: false, math.MaxInt: false} {
		if _, err := (Rate{Emission: 24 * time.Hour, Burst: 2}).WithDebt(debt); (err == nil) != want {
			t.Errorf("a debt of %d days with a burst of 2: %v; want accepted %v", debt, err, want)
		}
	}
}

func TestUsedIsBounded(t *testing.T) {
	rate := Rate{Emission: time.Second, Burst: 3}
	if got := rate.Used(1e15, 0); got != 3*time.Second {
		t.Errorf("a clock that was set back leaves %s used; want the whole quota", got)
	}
	if got := rate.Used(0, 1e15); got != 0 {
		t.Errorf("an arrival long ago leaves %s used", got)
	}
	if left, after := rate.Left(0); left != 3 || after != 0 {
		t.Errorf("a whole quota has %d left, more after %s", left, after)
	}
}
