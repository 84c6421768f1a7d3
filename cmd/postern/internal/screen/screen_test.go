package screen

import (
	"strings"
	"testing"
)

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"orders": "orders", "注文": "注文", "a\x1b[2Jb": `a\x1b[2Jb`, "a\nb\r": `a\nb\r`, "a\u202eb": `a\u202eb`, "\xff": "�", "": "",
		"\u009b31m": `\u009b31m`,
	} {
		if got := Escape(in); got != want {
			t.Errorf("Escape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestWidth(t *testing.T) {
	for in, want := range map[string]int{"abc": 3, "注文": 4, "ｱ": 1, "Ａ": 2, "한국": 4, "e\u0301": 1, "é": 1, "…": 1, "": 0} {
		if got := Width(in); got != want {
			t.Errorf("Width(%q) = %d, want %d", in, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for name, tt := range map[string]struct {
		in          string
		limit       int
		want, inner string
	}{
		"fits":           {"orders", 6, "orders", "orders"},
		"too long":       {"orders-7d8f", 7, "orders…", "ord…d8f"},
		"wide":           {"注文管理", 5, "注文…", "注…理"},
		"wide, odd":      {"注文管理", 4, "注…", "注…"},
		"one cell":       {"orders", 1, "…", "…"},
		"no limit":       {"orders", 0, "orders", "orders"},
		"combining mark": {"aaae\u0301bbb", 5, "aaae\u0301…", "aa…bb"},
	} {
		if got := Cut(tt.in, tt.limit); got != tt.want {
			t.Errorf("%s: Cut gives %q, want %q", name, got, tt.want)
		}
		if got := CutMiddle(tt.in, tt.limit); got != tt.inner {
			t.Errorf("%s: CutMiddle gives %q, want %q", name, got, tt.inner)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add("注文e\u0301\x1b[2J", 3)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		s = Escape(s)
		for _, got := range []string{Cut(s, limit), CutMiddle(s, limit)} {
			if limit >= 1 && Width(got) > limit {
				t.Errorf("%q takes %d cells, more than %d", got, Width(got), limit)
			}
			if strings.ContainsFunc(got, unprintable) {
				t.Errorf("%q is not printable", got)
			}
		}
		for _, line := range Wrap(s, limit) {
			if limit >= 1 && Width(line) > limit && strings.Contains(line, " ") {
				t.Errorf("the line %q takes more than %d cells", line, limit)
			}
		}
	})
}

func TestTable(t *testing.T) {
	table := func(style Style) string {
		table := NewTable(style, "POD", "STATE", "NOTE")
		table.Flexible = []int{2, 0}
		table.Row(Text("注文", "ok", "")...)
		table.Row(Cell{Text: "orders-7d8f9c-abcde"}, Cell{Text: "bad\x1b[2J", Colour: Red}, Cell{Text: "a message that is long"})
		return table.String()
	}
	for name, tt := range map[string]struct {
		style Style
		want  string
	}{
		"unbounded": {Style{}, "" +
			"POD                  STATE       NOTE\n" +
			"注文                 ok\n" +
			"orders-7d8f9c-abcde  bad\\x1b[2J  a message that is long\n"},
		"narrow": {Style{Width: 32}, "" +
			"POD         STATE       NOTE\n" +
			"注文        ok\n" +
			"order…bcde  bad\\x1b[2J  a messa…\n"},
		"with colours": {Style{Colour: true}, "" +
			"\x1b[1mPOD\x1b[0m                  \x1b[1mSTATE\x1b[0m       \x1b[1mNOTE\x1b[0m\n" +
			"注文                 ok\n" +
			"orders-7d8f9c-abcde  \x1b[31mbad\\x1b[2J\x1b[0m  a message that is long\n"},
	} {
		if got := table(tt.style); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, tt.want)
		}
	}
}
