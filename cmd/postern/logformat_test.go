package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal returns the two ends of a pseudo-terminal (pts(4)): person reads what program writes.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	var number int
	raw, err := person.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var ioctl error
	err = raw.Control(func(fd uintptr) {
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		number, ioctl = n, errors.Join(err, unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0))
	})
	if err := errors.Join(err, ioctl); err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func TestLogFormat(t *testing.T) {
	_, terminal := openTerminal(t)
	file, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for name, tt := range map[string]struct {
		to         *os.File
		format     string
		env        map[string]string
		wantText   bool
		wantColour bool
	}{
		"auto, a terminal":           {to: terminal, format: "auto", wantText: true, wantColour: true},
		"auto, a file":               {to: file, format: "auto"},
		"text, a terminal":           {to: terminal, format: "text", wantText: true, wantColour: true},
		"text, a file":               {to: file, format: "text", wantText: true},
		"json, a terminal":           {to: terminal, format: "json"},
		"NO_COLOR":                   {to: terminal, format: "auto", env: map[string]string{"NO_COLOR": "1"}, wantText: true},
		"NO_COLOR, empty":            {to: terminal, format: "auto", env: map[string]string{"NO_COLOR": ""}, wantText: true, wantColour: true},
		"a terminal without colours": {to: terminal, format: "auto", env: map[string]string{"TERM": "dumb"}, wantText: true},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := newLogOutput(tt.to, tt.format, func(key string) string { return tt.env[key] })
			if err != nil || o.text != tt.wantText || o.colour != tt.wantColour {
				t.Errorf("text %v, colour %v, %v; want %v, %v", o.text, o.colour, err, tt.wantText, tt.wantColour)
			}
		})
	}
	if _, err := newLogOutput(&bytes.Buffer{}, "xml", os.Getenv); err == nil || !strings.Contains(err.Error(), "auto, text or json") {
		t.Errorf("--log-format xml: %v", err)
	}
}

func TestColoursOnTerminal(t *testing.T) {
	person, terminal := openTerminal(t)
	o, err := newLogOutput(terminal, "auto", func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	o.logger(&slog.LevelVar{}).Error("it broke", "code", 7)
	got := make([]byte, 1024)
	n, err := person.Read(got)
	if err != nil || !strings.Contains(string(got[:n]), red+"ERROR"+plain+" it broke "+dim+"code=7"+plain) {
		t.Errorf("the terminal shows %q, %v", got[:n], err)
	}
}

func TestTextLines(t *testing.T) {
	var level slog.LevelVar
	for name, tt := range map[string]struct {
		log  func(*slog.Logger)
		want string
	}{
		"attributes":                      {func(l *slog.Logger) { l.Info("request", "status", 401, "cause", "no token") }, "INFO  request status=401 cause=\"no token\"\n"},
		"a request omits policy and port": {func(l *slog.Logger) { l.Info("request", "path", "/", "port", 8080, "policy", "default/app") }, "INFO  request path=/\n"},
		"levels are aligned":              {func(l *slog.Logger) { l.Error("broken") }, "ERROR broken\n"},
		"below the level":                 {func(l *slog.Logger) { l.Debug("why") }, ""},
		"attributes and group":            {func(l *slog.Logger) { l.With("a", 1).WithGroup("g").Warn("w", "b", 2) }, "WARN  w a=1 g.b=2\n"},
		"escape sequences of a client": {func(l *slog.Logger) { l.Info("request", "path", "/\x1b[2J\n", "error", errors.New("\x1b]0;x\a")) },
			`INFO  request path="/\x1b[2J\n" error="\x1b]0;x\a"` + "\n"},
		"escape sequences in a message":  {func(l *slog.Logger) { l.Info("from net/http: \x1b[2J") }, `INFO  "from net/http: \x1b[2J"` + "\n"},
		"attributes named level and msg": {func(l *slog.Logger) { l.Info("m", "level", "high", "msg", "inner") }, "INFO  m level=high msg=inner\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			tt.log(logOutput{w: &b, text: true}.logger(&level))
			got := b.String()
			if got != "" {
				if _, err := time.Parse(time.TimeOnly, got[:len(time.TimeOnly)]); err != nil {
					t.Errorf("no time: %q", got)
				}
				got = got[len(time.TimeOnly)+1:]
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if strings.ContainsRune(b.String(), '\x1b') {
				t.Error("an escape sequence without colours")
			}
		})
	}
	level.Set(slog.LevelDebug)
	var b bytes.Buffer
	logOutput{w: &b, text: true}.logger(&level).Debug("why")
	if !strings.Contains(b.String(), "DEBUG why") {
		t.Errorf("a changed level is not applied: %q", b.String())
	}
}

// TestTextHandler checks the handler against the contract of slog.Handler.
func TestTextHandler(t *testing.T) {
	var b bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		b.Reset()
		return newTextHandler(logOutput{w: &b, text: true}, slog.LevelInfo)
	}, func(t *testing.T) map[string]any { return parseLine(t, b.String()) })
}

// parseLine parses a line: "time level message key=value group.key=value".
func parseLine(t *testing.T, line string) map[string]any {
	t.Helper()
	out := map[string]any{}
	rest := strings.TrimSuffix(line, "\n")
	if at, err := time.Parse(time.TimeOnly, rest[:min(len(rest), len(time.TimeOnly))]); err == nil {
		out[slog.TimeKey], rest = at, rest[len(time.TimeOnly)+1:]
	}
	level, rest, _ := strings.Cut(rest, " ")
	out[slog.LevelKey] = level
	words := strings.Fields(rest)
	out[slog.MessageKey] = words[0]
	for _, word := range words[1:] {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			t.Fatalf("%q of %q is no attribute", word, line)
		}
		into, path := out, strings.Split(key, ".")
		for _, group := range path[:len(path)-1] {
			if into[group] == nil {
				into[group] = map[string]any{}
			}
			into = into[group].(map[string]any)
		}
		into[path[len(path)-1]] = value
	}
	return out
}

func TestJSONLines(t *testing.T) {
	var b bytes.Buffer
	logOutput{w: &b}.logger(&slog.LevelVar{}).Info("request", "status", 401)
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got["msg"] != "request" || got["status"] != 401.0 {
		t.Errorf("%s, %v", b.String(), err)
	}
}
