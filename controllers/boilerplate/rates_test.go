package boilerplate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/api/check"
)

func TestParseRates(t *testing.T) {
	tests := map[string]struct {
		text    string
		want    []string
		wantErr bool
	}{
		"slowapi":             {text: "5/minute", want: []string{"5/minute"}},
		"limits":              {text: "100 per hour", want: []string{"100/hour"}},
		"with a multiple":     {text: "10 per 15 minutes", want: []string{"10/15m"}},
		"multiple of seconds": {text: "5/90second", want: []string{"5/90s"}},
		"several":             {text: "5/minute;100/day", want: []string{"5/minute", "100/day"}},
		"with commas":         {text: "5 per minute, 100 per day", want: []string{"5/minute", "100/day"}},
		"with bars":           {text: "1/s|2/h", want: []string{"1/second", "2/hour"}},
		"django-ratelimit":    {text: "10/m", want: []string{"10/minute"}},
		"with a period":       {text: "5/10s", want: []string{"5/10s"}},
		"REST framework":      {text: "1000/day", want: []string{"1000/day"}},
		"sixty seconds":       {text: "5/60s", want: []string{"5/minute"}},
		"two days":            {text: "5/2d", want: []string{"5/48h"}},
		"a month":             {text: "1000 per month", want: []string{"1000/720h"}},
		"upper case":          {text: " 5 / MINUTE ", want: []string{"5/minute"}},
		"a year":              {text: "5/year", wantErr: true},
		"no number":           {text: "/minute", wantErr: true},
		"zero":                {text: "0/minute", wantErr: true},
		"negative":            {text: "-5/minute", wantErr: true},
		"a fraction":          {text: "0.5/s", wantErr: true},
		"no period":           {text: "5", wantErr: true},
		"another unit":        {text: "5/fortnight", wantErr: true},
		"too many":            {text: "9999999999/second", wantErr: true},
		"zero periods":        {text: "5/0m", wantErr: true},
		"overflow":            {text: "5/99999999999999999999h", wantErr: true},
		"nothing":             {text: " ; ", wantErr: true},
		"a long list":         {text: strings.Repeat("1/s;", 9), wantErr: true},
		"a long text":         {text: strings.Repeat(" ", 300) + "1/s", wantErr: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseRates(tt.text)
			if (err != nil) != tt.wantErr || !tt.wantErr && !slices.Equal(got, tt.want) {
				t.Errorf("got %v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

// FuzzParseRates: what is accepted is a rate of a policy.
func FuzzParseRates(f *testing.F) {
	for _, seed := range []string{"5/minute;100/day", "5 per 15 minutes", "10/m", "1/s|2/h", "5/0m"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rates, err := ParseRates(text)
		for _, rate := range rates {
			if n, period, parsed := check.ParseRate(rate); parsed != nil || err == nil && check.Rate(n, period) != nil {
				t.Errorf("%q gives %q, which no policy has", text, rate)
			}
		}
	})
}

func TestParseLifetime(t *testing.T) {
	tests := map[string]struct {
		text    string
		unit    time.Duration
		want    time.Duration
		wantErr bool
	}{
		"a number":         {text: "30", unit: time.Minute, want: 30 * time.Minute},
		"its own unit":     {text: "7d", unit: time.Minute, want: 168 * time.Hour},
		"seconds":          {text: "90s", want: 90 * time.Second},
		"milliseconds":     {text: "1500ms", want: 1500 * time.Millisecond},
		"words":            {text: "2 Days", want: 48 * time.Hour},
		"minutes":          {text: "15 mins", want: 15 * time.Minute},
		"weeks":            {text: "1w", want: 168 * time.Hour},
		"no unit":          {text: "3600", wantErr: true},
		"an unknown unit":  {text: "3 moons", unit: time.Minute, wantErr: true},
		"an expression":    {text: "60 * 24", unit: time.Minute, wantErr: true},
		"zero":             {text: "0", unit: time.Minute, wantErr: true},
		"eleven years":     {text: "4015d", wantErr: true},
		"would overflow":   {text: "9223372036854775807", unit: time.Hour, wantErr: true},
		"more than 64 bit": {text: "99999999999999999999", unit: time.Hour, wantErr: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := parseLifetime(tt.text, tt.unit); (err != nil) != tt.wantErr || got != tt.want {
				t.Errorf("got %s, %v; want %s", got, err, tt.want)
			}
		})
	}
}
