package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/posterndev/postern/test/freeport"
)

// startOperator runs the operator as the chart does, and waits until it is ready.
func (o *operators) startOperator(ctx context.Context) error {
	addresses, err := freeport.Addresses(1)
	if err != nil {
		return err
	}
	o.metrics = addresses[0]
	args := append([]string{filepath.Join(o.dir, "operator")}, o.server.Flags()...)
	health := fmt.Sprintf("127.0.0.1:%d", o.server.Ports.Health)
	o.process, err = o.start(ctx, health, "operator", []string{"KUBECONFIG=" + o.server.Kubeconfig, fmt.Sprintf("POSTERN_MEMORY_LIMIT=%d", operatorLimit)},
		append(args, "--metrics-bind-address="+o.metrics)...)
	if err != nil {
		return err
	}
	return awaitReady(ctx, "http://"+health+"/readyz")
}

// endOperator stops the operator as the kubelet does. It releases its lease, so that the next one leads at once.
func (o *operators) endOperator() error {
	p := o.process
	if err := syscall.Kill(p.pid(), syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping the operator: %w", err)
	}
	select {
	case <-p.done:
	case <-time.After(waitLimit):
		return fmt.Errorf("stopping the operator: it has not ended within %s", waitLimit)
	}
	o.programs = slices.DeleteFunc(o.programs, func(q *program) bool { return q == p })
	return nil
}

// spent is what the operator used since a mark.
type spent struct {
	time, cpu time.Duration
	// peak and resident are MiB.
	peak, resident float64
}

// mark is a point from which the use of the operator is measured.
type mark struct {
	o   *operators
	at  time.Time
	cpu time.Duration
}

// mark begins a measurement. The peak of the resident memory begins again, proc_pid_clear_refs(5).
func (o *operators) mark() (m mark, err error) {
	m = mark{o: o, at: time.Now()}
	if m.cpu, err = cpuTime(o.process.pid()); err != nil {
		return m, err
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", o.process.pid()), []byte("5"), 0); err != nil {
		return m, fmt.Errorf("resetting the peak of the operator's memory: %w", err)
	}
	return m, nil
}

// until returns what was used between the mark and at, which has just been.
func (m mark) until(at time.Time) (s spent, err error) {
	s.time = at.Sub(m.at)
	cpu, err := cpuTime(m.o.process.pid())
	if err != nil {
		return s, err
	}
	s.cpu = cpu - m.cpu
	s.resident, s.peak, err = m.o.memory()
	return s, err
}

// memory returns the operator's resident memory and its peak, in MiB.
func (o *operators) memory() (resident, peak float64, err error) {
	fields, err := statusOf(o.process.pid())
	return fields["VmRSS"], fields["VmHWM"], err
}

// quietLimit bounds the wait for an operator without work, and quietTime is the time for which it must have none.
const (
	quietLimit = 5 * time.Minute
	quietTime  = time.Second
)

// quiet waits until the operator has no work: it has used less than 3 % of a core for quietTime. It returns when that time began.
func (o *operators) quiet(ctx context.Context) (time.Time, error) {
	const window = 250 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, quietLimit)
	defer cancel()
	began := time.Now()
	for {
		before, err := cpuTime(o.process.pid())
		if err != nil {
			return began, err
		}
		select {
		case <-ctx.Done():
			return began, fmt.Errorf("waiting for an operator without work: %w", ctx.Err())
		case <-time.After(window):
		}
		after, err := cpuTime(o.process.pid())
		if err != nil {
			return began, err
		}
		now := time.Now()
		if after-before > window*3/100 {
			began = now
		}
		if now.Sub(began) >= quietTime {
			return began, nil
		}
	}
}

// figures are what the operator says by its metrics.
type figures struct {
	// reconciles is the number of reconciles of policies since the start, and waiting the number of those that wait.
	reconciles, waiting float64
	// polls is the number of polls that are held.
	polls float64
}

func (o *operators) figures(ctx context.Context) (f figures, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+o.metrics+"/metrics", nil)
	if err != nil {
		return f, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return f, err
	}
	defer response.Body.Close()
	families, err := families(response.Body)
	if err != nil {
		return f, fmt.Errorf("reading the operator's metrics: %w", err)
	}
	for _, m := range labelled(families["controller_runtime_reconcile_total"], "controller", "policy") {
		f.reconciles += m.GetCounter().GetValue()
	}
	for _, m := range labelled(families["workqueue_depth"], "name", "policy") {
		f.waiting += m.GetGauge().GetValue()
	}
	for _, m := range families["postern_operator_polls_held"].GetMetric() {
		f.polls += m.GetGauge().GetValue()
	}
	return f, nil
}

// families parses metrics.
func families(r io.Reader) (map[string]*dto.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(r)
}

// labelled returns the metrics of a family that have a label with this value.
func labelled(family *dto.MetricFamily, name, value string) []*dto.Metric {
	var out []*dto.Metric
	for _, m := range family.GetMetric() {
		if slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == name && l.GetValue() == value }) {
			out = append(out, m)
		}
	}
	return out
}
