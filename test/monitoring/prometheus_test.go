package monitoring

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/test/freeport"
)

const chart = "../../charts/postern"

// prometheus is a running server of Debian's package.
type prometheus struct{ address string }

// window replaces the windows of the rules and dashboards, which are minutes, so that faults end within seconds.
const window = "6s"

var (
	ranges  = regexp.MustCompile(`\[[0-9]+m\]`)
	offsets = regexp.MustCompile(`offset [0-9]+m`)
)

func shortened(query string) string {
	return offsets.ReplaceAllString(ranges.ReplaceAllString(query, "["+window+"]"), "offset "+window)
}

// rule is an alert.
type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// renderedRules returns the alerts that the chart renders, which fire at once. Their windows are shortened, and nothing else.
func renderedRules(t *testing.T) (alerts []rule) {
	t.Helper()
	cmd := exec.Command("helm", "template", "postern", chart, "--show-only", "templates/monitoring/prometheusrule.yaml",
		"--set", "metrics.prometheusRule.enabled=true", "--set", "metrics.prometheusRule.holdFor=0s")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("rendering the chart (eval \"$(hack/cluster/env.sh)\"): %v", err)
	}
	var object struct {
		Spec struct{ Groups []struct{ Rules []rule } }
	}
	if err := yaml.Unmarshal(out, &object); err != nil {
		t.Fatal(err)
	}
	for _, g := range object.Spec.Groups {
		for _, r := range g.Rules {
			r.Expr = shortened(r.Expr)
			alerts = append(alerts, r)
		}
	}
	return alerts
}

// startPrometheus scrapes the sidecar as the chart's PodMonitor does, and exporter as its ServiceMonitor does.
func startPrometheus(t *testing.T, alerts []rule, sidecar, exporter string) *prometheus {
	t.Helper()
	dir, p := t.TempDir(), &prometheus{address: freeport.Address(t)}
	write := func(name string, v any) {
		b, err := yaml.Marshal(v)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	type object = map[string]any
	target := func(name, address string, honor bool, labels object) object {
		return object{"job_name": name, "honor_labels": honor, "static_configs": []any{object{"targets": []string{address}, "labels": labels}}}
	}
	write("rules.yaml", object{"groups": []any{object{"name": "postern", "rules": alerts}}})
	write("prometheus.yaml", object{
		"global":     object{"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
		"rule_files": []string{"rules.yaml"},
		"scrape_configs": []any{
			target("sidecar", sidecar, false, object{"namespace": "shop", "policy": "orders", "pod": "a"}),
			target("operator", exporter, true, object{"service": "postern-operator-metrics"}),
		},
	})
	cmd := exec.Command("prometheus", "--config.file="+filepath.Join(dir, "prometheus.yaml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+p.address, "--enable-feature=exemplar-storage", "--query.lookback-delta=5s")
	log := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting Prometheus (hack/cluster/packages.sh installs it): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log)
		}
	})
	eventually(t, "Prometheus is ready", func() error {
		response, err := http.Get("http://" + p.address + "/-/ready")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		return nil
	})
	return p
}

// series is a result of a query.
type series struct {
	Metric map[string]string
	Value  [2]any
}

// query evaluates an expression now.
func (p *prometheus) query(expr string) ([]series, error) {
	response, err := http.Get("http://" + p.address + "/api/v1/query?query=" + url.QueryEscape(expr))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var result struct {
		Status, Error string
		Data          struct{ Result []series }
	}
	if err := json.NewDecoder(response.Body).Decode(&result); err != nil {
		return nil, err
	}
	if result.Status != "success" {
		return nil, fmt.Errorf("querying %s: %s", expr, result.Error)
	}
	return result.Data.Result, nil
}

// firing returns the alerts that fire.
func (p *prometheus) firing() (map[string]bool, error) {
	found, err := p.query(`ALERTS{alertstate="firing"}`)
	names := map[string]bool{}
	for _, s := range found {
		names[s.Metric["alertname"]] = true
	}
	return names, err
}

// patience bounds the wait for a state, most of which come within seconds. A key set expires in half a minute.
const patience = 2 * time.Minute

func eventually(t *testing.T, what string, ok func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(250 * time.Millisecond) {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
