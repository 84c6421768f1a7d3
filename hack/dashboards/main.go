// Command dashboards draws the dashboards of the chart: it runs the queries of each panel on a Prometheus, and draws the results in the grid of
// the dashboard. The pictures in docs/pictures are made with it. It does not need Grafana, and it does not look the same.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("dashboards", flag.ContinueOnError)
	server := f.String("prometheus", "", "URL of the Prometheus; that of make demo is http://10.245.0.2:9090")
	dir := f.String("dashboards", "charts/postern/files/dashboards", "folder of the dashboards")
	to := f.String("out", "docs/pictures", "folder of the pictures")
	back := f.Duration("time", 5*time.Minute, "how much of the time before now is drawn")
	window := f.String("window", "15s", "the window of rates, $__rate_interval")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *server == "" || *back < time.Minute {
		return fmt.Errorf("give --prometheus, and a --time of at least 1m")
	}
	files, err := filepath.Glob(filepath.Join(*dir, "*.json"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no dashboards in %s: %w", *dir, err)
	}
	now := time.Now()
	p := &prometheus{url: strings.TrimSuffix(*server, "/"), start: now.Add(-*back), end: now, step: max(*back/240, time.Second).Truncate(time.Second)}
	for _, file := range files {
		svg, height, err := drawFile(file, *window, p, out)
		if err != nil {
			return err
		}
		picture := filepath.Join(*to, "dashboard-"+strings.TrimSuffix(filepath.Base(file), ".json")+".png")
		if err := photograph(ctx, svg, height, picture); err != nil {
			return err
		}
		fmt.Fprintln(out, picture)
	}
	return nil
}

// drawFile runs the queries of a dashboard and draws it. It reports panels without data.
func drawFile(file, window string, p *prometheus, out io.Writer) (svg string, height int, err error) {
	board, err := load(file, window)
	if err != nil {
		return "", 0, err
	}
	results := make([][][]series, len(board.Panels))
	for i, one := range board.Panels {
		empty := one.Type != "row"
		for _, t := range one.Targets {
			found, err := p.query(&t)
			if err != nil {
				return "", 0, err
			}
			results[i], empty = append(results[i], found), empty && len(found) == 0
		}
		if empty {
			fmt.Fprintf(out, "%s: %q has no data\n", filepath.Base(file), one.Title)
		}
	}
	svg, height = draw(board, filepath.ToSlash(file), p, results)
	return svg, height, nil
}

// photograph makes a PNG of an SVG, with Chromium.
func photograph(ctx context.Context, svg string, height int, picture string) error {
	dir, err := os.MkdirTemp("", "dashboards")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	page := filepath.Join(dir, "page.html")
	if err := os.WriteFile(page, []byte("<!doctype html><style>body{margin:0}svg{display:block}</style>"+svg), 0o600); err != nil {
		return err
	}
	if picture, err = filepath.Abs(picture); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(picture), 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir="+dir,
		fmt.Sprintf("--window-size=%d,%d", width, height), "--screenshot="+picture, "file://"+page)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("drawing %s with chromium: %w: %s", picture, err, output)
	}
	return nil
}
