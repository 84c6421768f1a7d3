package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/posterndev/postern/test/bench/plot"
)

// report collects what -write writes into the documentation.
type report struct {
	// tables are Markdown by the name of their place in docs/bench.md, and plots are SVG by file name.
	tables, plots map[string]string
}

// publish prints a table, and keeps it for its place in the documentation.
func (b *bench) publish(place, title string, rows [][]string) error {
	b.report.tables[place] = markdown(title, rows)
	return table(b.out, title, rows)
}

// draw keeps a plot for the documentation.
func (b *bench) draw(place string, p plot.Plot) error {
	svg, err := p.SVG()
	if err == nil {
		b.report.plots[place+".svg"] = svg
	}
	return err
}

// markdown formats a table with its title in the corner, because a table without a heading is hard to find.
func markdown(title string, rows [][]string) string {
	var out strings.Builder
	for i, row := range rows {
		cells := append([]string(nil), row...)
		if i == 0 {
			cells[0] = title
		}
		fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | "))
		if i == 0 {
			fmt.Fprintf(&out, "|---%s|\n", strings.Repeat("|---:", len(cells)-1))
		}
	}
	return out.String()
}

// writeDocs replaces the tables in bench.md that this run measured, and writes the plots.
func (b *bench) writeDocs(dir string) error {
	file := filepath.Join(dir, "bench.md")
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the page of the bench: %w", err)
	}
	for place, text := range b.report.tables {
		if _, drawn := b.report.plots[place+".svg"]; drawn {
			text += fmt.Sprintf("\n![CPU time by %s](benchmarks/%s.svg)\n", place, place)
		}
		if content, err = replace(content, place, text); err != nil {
			return err
		}
	}
	plots := filepath.Join(dir, "benchmarks")
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	for name, svg := range b.report.plots {
		if err := os.WriteFile(filepath.Join(plots, name), []byte(svg), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(file, content, 0o644)
}

// replace replaces what is between the markers of a place.
func replace(page []byte, place, text string) ([]byte, error) {
	begin, end := []byte("<!-- measured: "+place+" -->\n"), []byte("<!-- end -->")
	before, rest, found := bytes.Cut(page, begin)
	if !found {
		return nil, fmt.Errorf("docs/bench.md has no marker %q", begin)
	}
	_, after, found := bytes.Cut(rest, end)
	if !found {
		return nil, errors.New("docs/bench.md: the marker of " + place + " has no end")
	}
	return bytes.Join([][]byte{before, begin, []byte("\n" + text + "\n"), end, after}, nil), nil
}
