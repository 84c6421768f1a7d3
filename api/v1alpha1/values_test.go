package v1alpha1

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/api/check"
)

func TestRate(t *testing.T) {
	tests := map[string]struct {
		rate       Rate
		wantCount  int
		wantPeriod time.Duration
		wantErr    string
	}{
		"second":          {rate: "10/second", wantCount: 10, wantPeriod: time.Second},
		"minute":          {rate: "5/minute", wantCount: 5, wantPeriod: time.Minute},
		"hour":            {rate: "1/hour", wantCount: 1, wantPeriod: time.Hour},
		"day":             {rate: "999999999/day", wantCount: 999999999, wantPeriod: 24 * time.Hour},
		"duration":        {rate: "100/15m", wantCount: 100, wantPeriod: 15 * time.Minute},
		"milliseconds":    {rate: "1/500ms", wantErr: "write second"},
		"31 days":         {rate: "1/744h", wantCount: 1, wantPeriod: check.MaxRatePeriod},
		"empty":           {rate: "", wantErr: "is not requests/period"},
		"no period":       {rate: "5", wantErr: "is not requests/period"},
		"empty period":    {rate: "5/", wantErr: "write second"},
		"zero":            {rate: "0/minute", wantErr: "not a number from 1"},
		"leading zero":    {rate: "05/minute", wantErr: "not a number from 1"},
		"negative":        {rate: "-5/minute", wantErr: "not a number from 1"},
		"plus":            {rate: "+5/minute", wantErr: "not a number from 1"},
		"fraction":        {rate: "1.5/minute", wantErr: "not a number from 1"},
		"too many":        {rate: "1000000000/minute", wantErr: "not a number from 1"},
		"plural":          {rate: "5/minutes", wantErr: "write second"},
		"upper case":      {rate: "5/Minute", wantErr: "write second"},
		"zero period":     {rate: "5/0s", wantErr: "write second"},
		"negative period": {rate: "5/-1s", wantErr: "write second"},
		"two units":       {rate: "5/1h30m", wantErr: "write second"},
		"fraction period": {rate: "5/1.5h", wantErr: "write second"},
		"unit alone":      {rate: "5/m", wantErr: "write second"},
		"too long":        {rate: "5/745h", wantErr: "is longer than"},
		"overflow":        {rate: "5/999999h", wantErr: "is longer than"},
		"spaces":          {rate: "5 / minute", wantErr: "not a number from 1"},
		"two slashes":     {rate: "5/1/s", wantErr: "write second"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			count, period, err := tt.rate.Parse()
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("error = %v; want one with %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || count != tt.wantCount || period != tt.wantPeriod {
				t.Errorf("got %d in %s, %v; want %d in %s", count, period, err, tt.wantCount, tt.wantPeriod)
			}
		})
	}
}

// The CRD's pattern and the parser must agree, or a policy is accepted that cannot be compiled.
var ratePattern = regexp.MustCompile(`^[1-9][0-9]{0,8}/(second|minute|hour|day|[1-9][0-9]{0,5}(s|m|h))$`)

func FuzzRate(f *testing.F) {
	for _, seed := range []string{"5/minute", "100/15m", "0/s", "9/9/9", "1/999999h", "1/1ms", "1/msh"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		count, period, err := Rate(s).Parse()
		if err == nil && (count < 1 || period <= 0 || period > check.MaxRatePeriod) {
			t.Errorf("Parse(%q) = %d, %s", s, count, period)
		}
		tooLong := err != nil && strings.Contains(err.Error(), "longer than")
		if matched := ratePattern.MatchString(s); matched != (err == nil || tooLong) {
			t.Errorf("the pattern says %v to %q, the parser %v", matched, s, err)
		}
	})
}

func TestDuration(t *testing.T) {
	tests := map[string]struct {
		d       Duration
		want    time.Duration
		wantErr bool
	}{
		"empty":    {d: "", want: 0},
		"seconds":  {d: "30s", want: 30 * time.Second},
		"mixed":    {d: "1h30m", want: 90 * time.Minute},
		"negative": {d: "-1s", wantErr: true},
		"no unit":  {d: "30", wantErr: true},
		"days":     {d: "1d", wantErr: true},
		"overflow": {d: "999999999h", wantErr: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tt.d.Std()
			if (err != nil) != tt.wantErr || (err == nil && got != tt.want) {
				t.Errorf("got %s, %v; want %s, error %v", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

func TestSize(t *testing.T) {
	tests := map[string]struct {
		s       Size
		want    int
		wantErr bool
	}{
		"empty":     {s: "", want: 0},
		"bare":      {s: "512", want: 512},
		"bytes":     {s: "512B", want: 512},
		"kibibytes": {s: "1KiB", want: 1024},
		"mebibytes": {s: "2MiB", want: 2 << 20},
		"a gibi":    {s: "1024MiB", want: 1 << 30},
		"too large": {s: "1025MiB", wantErr: true},
		"overflow":  {s: "999999999MiB", wantErr: true},
		"no number": {s: "KiB", wantErr: true},
		"kilobytes": {s: "1KB", wantErr: true},
		"negative":  {s: "-1KiB", wantErr: true},
		"two units": {s: "1KiBB", wantErr: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tt.s.Bytes()
			if (err != nil) != tt.wantErr || (err == nil && got != tt.want) {
				t.Errorf("got %d, %v; want %d, error %v", got, err, tt.want, tt.wantErr)
			}
		})
	}
}
