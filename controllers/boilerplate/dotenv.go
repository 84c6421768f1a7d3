package boilerplate

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of a file with settings.
const (
	MaxFile      = 256 << 10 // bytes
	maxVariables = 1000
	maxName      = 128      // bytes
	maxValue     = 32 << 10 // bytes, also of a value whose references are replaced
)

// A variable is one assignment of a file.
type variable struct {
	// name is as written; key is in upper case with underscores, as Spring reads names: jwt.secret-key is JWT_SECRET_KEY.
	name, key string
	line      int
	raw       string
	// quote is the quotation mark around raw: 0, ', " or `.
	quote byte
}

// parse reads the assignments of a dotenv or properties file. Nothing is executed, and errors never quote a value. What two libraries
// would read in different ways is an error: a name that is set twice, text after a closing quote, and a line that ends in a backslash.
func parse(data []byte) ([]variable, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("the file has more than %d bytes", MaxFile)
	}
	text := strings.TrimPrefix(string(data), "\uFEFF")
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("the file is not UTF-8")
	}
	p := &parser{text: strings.ReplaceAll(text, "\r\n", "\n"), line: 1, seen: map[string]int{}}
	for p.text != "" {
		if err := p.next(); err != nil {
			return nil, fmt.Errorf("line %d: %w", p.line, err)
		}
	}
	return p.variables, nil
}

type parser struct {
	text      string // the rest, at the start of a line
	line      int
	variables []variable
	seen      map[string]int
}

// next reads one line, or several of a quoted value.
func (p *parser) next() error {
	current, rest, _ := strings.Cut(p.text, "\n")
	trimmed := strings.TrimSpace(current)
	if trimmed == "" || trimmed[0] == '#' || trimmed[0] == '!' {
		p.text = rest
		p.line++
		return nil
	}
	if after, ok := strings.CutPrefix(trimmed, "export"); ok && after != strings.TrimLeft(after, " \t") {
		trimmed = strings.TrimLeft(after, " \t")
	}
	name := trimmed[:len(trimmed)-len(strings.TrimLeftFunc(trimmed, inName))]
	v := variable{name: name, key: keyOf(name), line: p.line}
	if err := p.checkName(v); err != nil {
		return err
	}
	after := strings.TrimLeft(trimmed[len(name):], " \t")
	if after == "" || after[0] != '=' && after[0] != ':' {
		return fmt.Errorf("there is no = after the name %s", name)
	}
	// The value starts after the separator; take it from the text, because a quoted value may have several lines.
	value := strings.TrimLeft(after[1:], " \t")
	start := strings.LastIndex(current, value)
	if value == "" {
		start = len(current)
	}
	return p.value(v, p.text[start:])
}

func (p *parser) checkName(v variable) error {
	switch first, ok := p.seen[v.key]; {
	case v.name == "" || v.name[0] >= '0' && v.name[0] <= '9':
		return fmt.Errorf("it is not NAME=value: a name has letters, digits, underscores, dots and hyphens, and starts with no digit")
	case len(v.name) > maxName:
		return fmt.Errorf("the name has more than %d bytes", maxName)
	case ok:
		return fmt.Errorf("%s is set in line %d already: remove one of them", v.name, first)
	case len(p.variables) == maxVariables:
		return fmt.Errorf("the file has more than %d variables", maxVariables)
	}
	return nil
}

// value reads the value at the start of text, and the rest of its line.
func (p *parser) value(v variable, text string) error {
	lines := 1
	if text != "" && strings.IndexByte("'\"`", text[0]) >= 0 {
		v.quote = text[0]
		end := closing(text)
		if end < 0 {
			return fmt.Errorf("the quote of %s is not closed", v.name)
		}
		v.raw = text[1:end]
		lines += strings.Count(v.raw, "\n")
		tail, rest, _ := strings.Cut(text[end+1:], "\n")
		if tail = strings.TrimSpace(tail); tail != "" && tail[0] != '#' {
			return fmt.Errorf("there is text after the closing quote of %s: put all of it into the quotes", v.name)
		}
		p.text = rest
	} else {
		line, rest, _ := strings.Cut(text, "\n")
		v.raw, p.text = strings.TrimSpace(withoutComment(line)), rest
		if strings.HasSuffix(v.raw, `\`) {
			return fmt.Errorf("the value of %s ends in a backslash: write it in one line, in quotes", v.name)
		}
	}
	if len(v.raw) > maxValue {
		return fmt.Errorf("the value of %s has more than %d bytes", v.name, maxValue)
	}
	if strings.ContainsFunc(v.raw, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' || r == 0x7f }) {
		return fmt.Errorf("the value of %s has a control character", v.name)
	}
	p.seen[v.key] = v.line
	p.variables = append(p.variables, v)
	p.line += lines
	return nil
}

// closing returns the index of the quote that closes the one at the start of text, or -1. Only double quotes have escapes.
func closing(text string) int {
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && text[0] == '"':
			i++
		case text[i] == text[0]:
			return i
		}
	}
	return -1
}

// withoutComment cuts a comment: # at the start, or after a space.
func withoutComment(line string) string {
	for i := range len(line) {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			return line[:i]
		}
	}
	return line
}

func inName(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '.' || r == '-'
}

// keyOf returns the form of a name by which it is looked up.
func keyOf(name string) string {
	return strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(name))
}
