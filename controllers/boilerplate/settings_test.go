package boilerplate

import (
	"strings"
	"testing"
)

func TestReadValues(t *testing.T) {
	tests := map[string]struct {
		file           string
		want           string
		wantUnresolved string
	}{
		"plain":                        {file: "A=b", want: "b"},
		"spaces around":                {file: "  A = b c  ", want: "b c"},
		"export":                       {file: "export A=b", want: "b"},
		"byte order mark and CRLF":     {file: "\uFEFFA=b\r\nB=c\r\n", want: "b"},
		"comment after a value":        {file: "A=b # c", want: "b"},
		"hash inside a value":          {file: "A=b#c", want: "b#c"},
		"comments of both kinds":       {file: "# x\n! y\nA=b", want: "b"},
		"single quotes are literal":    {file: `A='b\n${B} # c' # d`, want: `b\n${B} # c`},
		"backticks are literal":        {file: "A=`b \"c\" 'd' $(e)`", want: `b "c" 'd' $(e)`},
		"double quotes have escapes":   {file: `A="b\n\"c\" \\ \x"`, want: "b\n\"c\" \\ \\x"},
		"several lines":                {file: "A=\"b\n c\n\"\nB=d", want: "b\n c\n"},
		"nothing is executed":          {file: "A=$(id)`id`", want: "$(id)`id`"},
		"a lone dollar":                {file: "A=$B$", want: "$B$"},
		"reference":                    {file: "A=x${B}y\nB=c", want: "xcy"},
		"reference in double quotes":   {file: "A=\"x ${B}\"\nB='c d'", want: "x c d"},
		"escaped reference":            {file: `A=\${B}`, want: "${B}"},
		"default":                      {file: "A=${B:-c}", want: "c"},
		"default for an empty value":   {file: "B=\nA=${B:-c}", want: "c"},
		"default with a hyphen":        {file: "A=${B-c}", want: "c"},
		"default of Spring":            {file: "A=${B:c:d}", want: "c:d"},
		"nested default":               {file: "A=${B:${C:-d}}", want: "d"},
		"names of Spring":              {file: "a: ${b.c-d}\nb.c-d=e", want: "e"},
		"unknown reference":            {file: "A=${B}", wantUnresolved: "it refers to ${B}"},
		"the environment is not read":  {file: "A=${PATH}", wantUnresolved: "it refers to ${PATH}"},
		"circle":                       {file: "A=${B}\nB=${A}", wantUnresolved: "circle"},
		"reference to a circle":        {file: "A=${A}", wantUnresolved: "circle"},
		"open reference":               {file: "A=${B", wantUnresolved: "not closed"},
		"a shell's other substitution": {file: "A=${B%%x}\nB=c", wantUnresolved: "not ${NAME}"},
		"references that multiply":     {file: "A=${B}${B}${B}${B}\nB=${C}${C}${C}${C}${C}${C}${C}${C}\nC=" + strings.Repeat("c", 2000), wantUnresolved: "more than 32768 bytes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := Read([]byte(tt.file))
			if err != nil {
				t.Fatal(err)
			}
			got, ok := s.first("A")
			if !ok || got.Value != tt.want || !strings.Contains(got.Unresolved, tt.wantUnresolved) || (tt.wantUnresolved == "") != (got.Unresolved == "") {
				t.Errorf("got %+v, %t; want %q, unresolved %q", got, ok, tt.want, tt.wantUnresolved)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	tests := map[string]struct{ file, want string }{
		"no separator":              {"A", "line 1: there is no = after the name A"},
		"a command":                 {"rm -rf /", "line 1: there is no = after the name rm"},
		"a digit first":             {"1A=b", "line 1: it is not NAME=value"},
		"no name":                   {"=hunter2hunter2", "line 1: it is not NAME=value"},
		"a name twice":              {"A=b\n\nA=c", "line 3: A is set in line 1 already"},
		"two forms of a name":       {"jwt.secret=b\nJWT_SECRET=c", "line 2: JWT_SECRET is set in line 1 already"},
		"an open quote":             {"A='hunter2hunter2", "line 1: the quote of A is not closed"},
		"text after a quote":        {"A='b'hunter2", "line 1: there is text after the closing quote of A"},
		"a continued line":          {"A=b\\\n c", "line 1: the value of A ends in a backslash"},
		"a control character":       {"A=b\x00", "line 1: the value of A has a control character"},
		"a terminal's escape":       {"A='b\x1b[2J'", "line 1: the value of A has a control character"},
		"another encoding":          {"A=\xff", "the file is not UTF-8"},
		"a long name":               {strings.Repeat("A", 200) + "=b", "the name has more than 128 bytes"},
		"a long value":              {"A=" + strings.Repeat("b", maxValue+1), "the value of A has more than 32768 bytes"},
		"a big file":                {strings.Repeat("#", MaxFile+1), "more than 262144 bytes"},
		"the line after a multiple": {"A=\"b\nc\"\nB", "line 3: there is no = after the name B"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Read([]byte(tt.file))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	var many strings.Builder
	for i := range maxVariables + 1 {
		many.WriteString("A" + strings.Repeat("B", i%100) + strings.Repeat("C", i/100) + "=d\n")
	}
	if _, err := Read([]byte(many.String())); err == nil || !strings.Contains(err.Error(), "more than 1000 variables") {
		t.Errorf("many variables: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"A=b # c\nexport B='${A}'\nC=\"x\n${A:-d}\\\"\"", "a.b: ${C:${D}}", "A=${A}${A}", "\uFEFFA=`b`\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Read(data)
		if err != nil {
			return
		}
		if len(s.variables) > maxVariables {
			t.Fatalf("%d variables", len(s.variables))
		}
		for _, v := range s.variables {
			if found, _ := s.first(v.key); len(found.Value) > maxValue {
				t.Fatalf("%s has %d bytes", v.name, len(found.Value))
			}
		}
	})
}
