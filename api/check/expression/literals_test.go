package expression

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// TestLiterals: a regular expression whose compilation takes hundreds of megabytes, and a time zone that is read from a file for each request,
// are mistakes, however the function is called.
func TestLiterals(t *testing.T) {
	const states, zone = "more than 1000 states", "the time zone is neither"
	tests := map[string]struct {
		text         string
		line, column int
		want         string
	}{
		"repetitions of much":           {`request.path.matches("(` + strings.Repeat("(a|b)?", 500) + `){1000}c")`, 1, 22, states},
		"many repetitions":              {`request.path.matches("` + strings.Repeat("(.?){1000}", 300) + `c")`, 1, 22, states},
		"repetitions of repetitions":    {`request.path.matches("((a{10}){10}){10}")`, 1, 22, states},
		"an open repetition":            {`request.path.matches("(ab){600,}")`, 1, 22, states},
		"many classes":                  {`request.path.matches("\\pL{100}")`, 1, 22, states},
		"called as a function":          {`matches(request.path, "(ab){600}")`, 1, 23, states},
		"inside of a macro":             {`claims.a.all(x, x.matches("(ab){600}"))`, 1, 27, states},
		"a zone of the claims":          {`request.time.getHours(claims.tz) > 8`, 1, 29, zone},
		"a zone of a file":              {`request.time.getHours("Europe/Berlin") > 8`, 1, 23, zone},
		"a file":                        {`request.time.getDayOfWeek("../../etc/passwd") > 0`, 1, 27, zone},
		"the zone of the machine":       {`request.time.getDate("Local") > 8`, 1, 22, zone},
		"a zone of a computed time":     {`timestamp("2026-01-01T00:00:00Z").getFullYear("Asia/Tokyo") > 8`, 1, 47, zone},
		"a difference that is too long": {`request.time.getHours("+02:000") > 8`, 1, 23, zone},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(tt.text)
			var mistake *Error
			if !errors.As(err, &mistake) || !strings.Contains(mistake.Message, tt.want) || mistake.Line != tt.line || mistake.Column != tt.column {
				t.Errorf("%v; want %d:%d %q", err, tt.line, tt.column, tt.want)
			}
		})
	}
}

func TestAcceptedLiterals(t *testing.T) {
	for _, text := range []string{
		`request.time.getHours("+02:00") == 14`, `request.time.getHours("UTC") == 12`, `request.time.getHours("-08:00") == 4`,
		`duration("90m").getHours() == 1`, `request.path.matches("^/orders/[0-9]{1,20}/(refund|cancel)$")`,
		`"0f8fad5b-d9cb-469f-a165-70867728950e".matches("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")`, `request.method.matches("^\\pL+$")`,
	} {
		p, err := Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if met, err := p.Eval(input()); !met || err != nil {
			t.Errorf("%s: %v, %v; want true", text, met, err)
		}
	}
}

// TestAddressHasOneForm: an IPv4 address that was mapped into IPv6, and one with a zone, do not differ from what an expression names.
func TestAddressHasOneForm(t *testing.T) {
	for address, text := range map[string]string{"::ffff:192.0.2.7": `request.address == "192.0.2.7"`, "fe80::1%eth0": `request.address == "fe80::1"`} {
		p, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		in := input()
		in.Address = netip.MustParseAddr(address)
		if met, err := p.Eval(in); !met || err != nil {
			t.Errorf("%s: %v, %v; want true", address, met, err)
		}
	}
}
