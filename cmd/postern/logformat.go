package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// Values of --log-format.
const (
	formatAuto = "auto"
	formatText = "text"
	formatJSON = "json"
)

// logOutput is the destination and the format of a command's log.
type logOutput struct {
	w io.Writer
	// text is false for JSON. colour is true only with text.
	text, colour bool
}

// newLogOutput returns the output for a value of --log-format. auto is text if w is a terminal, and JSON otherwise. Colours are
// used only on terminals, and not if NO_COLOR (no-color.org) is set or TERM is dumb.
func newLogOutput(w io.Writer, format string, getenv func(string) string) (logOutput, error) {
	terminal := isTerminal(w)
	o := logOutput{w: w}
	switch format {
	case formatAuto:
		o.text = terminal
	case formatText:
		o.text = true
	case formatJSON:
	default:
		return logOutput{}, fmt.Errorf("--log-format %q is not auto, text or json", format)
	}
	o.colour = o.text && terminal && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
	return o, nil
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// logger returns a logger for records of at least the level.
func (o logOutput) logger(level slog.Leveler) *slog.Logger {
	if o.text {
		return slog.New(newTextHandler(o, level))
	}
	return slog.New(slog.NewJSONHandler(o.w, &slog.HandlerOptions{Level: level}))
}

// to returns the same output with another writer.
func (o logOutput) to(w io.Writer) logOutput {
	o.w = w
	return o
}

// paint colours text if colours are enabled.
func (o logOutput) paint(colour, text string) string {
	if !o.colour {
		return text
	}
	return colour + text + plain
}
