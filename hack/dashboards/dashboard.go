package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// dashboard is what is drawn of a dashboard of Grafana.
type dashboard struct {
	Title, Description string
	Panels             []panel
}

type panel struct {
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Min        *float64
			Thresholds struct{ Steps []threshold }
		}
	}
	Targets         []target
	Transformations []struct {
		Options struct {
			ExcludeByName map[string]bool
			RenameByName  map[string]string
		}
	}
}

// threshold is the colour of values from Value on; nil is the lowest.
type threshold struct {
	Color string
	Value *float64
}

type target struct {
	Expr, LegendFormat string
	Instant            bool
}

// load reads a dashboard, and gives the variables of its queries their values: everything, and the window.
func load(file, window string) (*dashboard, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	d := &dashboard{}
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	values := strings.NewReplacer("$namespace", ".*", "$policy", ".*", "$__rate_interval", window)
	for i := range d.Panels {
		for j := range d.Panels[i].Targets {
			t := &d.Panels[i].Targets[j]
			t.Expr = values.Replace(t.Expr)
		}
	}
	return d, nil
}

// columns returns the columns of a table: the labels of its series in their order of names, and their titles.
func (p *panel) columns(found []series) (labels, titles []string) {
	seen := map[string]bool{}
	for _, s := range found {
		for name := range s.labels {
			seen[name] = true
		}
	}
	for _, t := range p.Transformations {
		for name, excluded := range t.Options.ExcludeByName {
			seen[name] = seen[name] && !excluded
		}
	}
	for _, name := range sorted(seen) {
		if !seen[name] {
			continue
		}
		title := name
		for _, t := range p.Transformations {
			if renamed := t.Options.RenameByName[name]; renamed != "" {
				title = renamed
			}
		}
		labels, titles = append(labels, name), append(titles, title)
	}
	return labels, titles
}

// legend returns the name of a series.
func (t *target) legend(labels map[string]string) string {
	name := t.LegendFormat
	for label, value := range labels {
		name = strings.ReplaceAll(name, "{{"+label+"}}", value)
	}
	for {
		before, rest, found := strings.Cut(name, "{{")
		_, after, closed := strings.Cut(rest, "}}")
		if !found || !closed {
			return strings.Join(strings.Fields(name), " ")
		}
		name = before + after // a label that the series does not have
	}
}
