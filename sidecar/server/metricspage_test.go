package server

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// metric is a row of docs/metrics.md.
type metric struct {
	kind   string
	labels []string
}

var (
	rowOfPage = regexp.MustCompile("(?m)^\\| `(postern_[a-z0-9_]+)` \\| (counter|gauge|histogram) \\| ([^|]*) \\| [^|]+ \\| [^|]+ \\|$")
	quoted    = regexp.MustCompile("`([a-z_]+)`")
)

// metricsPage returns the rows of one chapter of docs/metrics.md.
func metricsPage(t *testing.T, chapter string) map[string]metric {
	t.Helper()
	b, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(b), "\n## "+chapter+"\n")
	if !found {
		t.Fatalf("the page has no chapter %q", chapter)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	rows := map[string]metric{}
	for _, row := range rowOfPage.FindAllStringSubmatch(text, -1) {
		m := metric{kind: row[2]}
		for _, label := range quoted.FindAllStringSubmatch(row[3], -1) {
			m.labels = append(m.labels, label[1])
		}
		rows[row[1]] = m
	}
	return rows
}

// registered returns the metrics of a sidecar, also those without a series, with their labels.
func registered(t *testing.T) map[string][]string {
	t.Helper()
	s, err := newSidecar(Config{
		Inbound: plain{address: "127.0.0.1:0", app: "127.0.0.1:1"}, Level: &slog.LevelVar{}, Logger: slog.New(slog.DiscardHandler), SecretsDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ch := make(chan *prometheus.Desc)
	go func() {
		s.registry.Describe(ch)
		close(ch)
	}()
	found := map[string][]string{}
	for d := range ch {
		if m := described.FindStringSubmatch(d.String()); m != nil {
			var labels []string
			for _, l := range strings.FieldsFunc(m[2]+","+m[3], func(r rune) bool { return r == ',' }) {
				labels = append(labels, strings.Split(l, "=")[0])
			}
			slices.Sort(labels)
			found[m[1]] = slices.Compact(labels)
		}
	}
	return found
}

var described = regexp.MustCompile(`fqName: "(postern_[^"]+)".*?(?:constLabels: \{([^}]*)\}, )?variableLabels: \{([^}]*)\}`)

// TestMetricsPage: docs/metrics.md has every metric of the sidecar with its labels, and no other.
func TestMetricsPage(t *testing.T) {
	rows, found := metricsPage(t, "The sidecar"), registered(t)
	for name, labels := range found {
		if row, ok := rows[name]; !ok || !slices.Equal(row.labels, labels) {
			t.Errorf("%s has the labels %q; the page says %q", name, labels, row.labels)
		}
	}
	for name := range rows {
		if _, ok := found[name]; !ok {
			t.Errorf("the page has %s, which no sidecar registers", name)
		}
	}
}

// TestMetricNames: promtool finds nothing wrong with the names, types and help texts of the metrics, also of those that have no series yet.
func TestMetricNames(t *testing.T) {
	var text strings.Builder
	for name, row := range metricsPage(t, "The sidecar") {
		fmt.Fprintf(&text, "# HELP %s x\n# TYPE %s %s\n", name, name, row.kind)
		if row.kind == "histogram" {
			fmt.Fprintf(&text, "%s_bucket{le=\"+Inf\"} 1\n%s_sum 1\n%s_count 1\n", name, name, name)
			continue
		}
		var labels []string
		for _, l := range row.labels {
			labels = append(labels, l+`="x"`)
		}
		fmt.Fprintf(&text, "%s{%s} 1\n", name, strings.Join(labels, ","))
	}
	promtool(t, text.String())
}

// TestMetricsText: promtool reads what a sidecar with a policy writes, and the types on the page are those of the metrics.
func TestMetricsText(t *testing.T) {
	s, err := newSidecar(Config{
		Inbound: plain{address: "127.0.0.1:0", app: "127.0.0.1:1"}, Level: &slog.LevelVar{}, Logger: slog.New(slog.DiscardHandler), SecretsDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.enforcer.chain.OnlyPort = 8080
	s.enforcer.onActivate = nil
	if err := s.enforcer.apply(t.Context(), makeDocument(nil), "0123abcd"); err != nil {
		t.Fatal(err)
	}
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	rows, seen := metricsPage(t, "The sidecar"), map[string]bool{}
	for _, f := range families {
		seen[f.GetName()] = true
		if row, ok := rows[f.GetName()]; ok && !strings.EqualFold(row.kind, f.GetType().String()) {
			t.Errorf("%s is a %s; the page says %s", f.GetName(), f.GetType(), row.kind)
		}
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"postern_policy_info", "postern_document_revision", "postern_http_request_overhead_seconds"} {
		if !seen[name] {
			t.Errorf("%s is missing", name)
		}
	}
	if !strings.Contains(text.String(), `postern_policy_info{document="0123abcd",mode="Enforce",security_policy="shop/orders"} 1`) {
		t.Errorf("the active document is not shown: %s", regexp.MustCompile(`postern_policy_info.*`).FindString(text.String()))
	}
	promtool(t, text.String())
}

// promtool checks metrics. It is in Debian's package prometheus.
func promtool(t *testing.T, text string) {
	t.Helper()
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool (hack/cluster/packages.sh installs it): %v\n%s", err, out)
	}
}
