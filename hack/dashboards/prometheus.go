package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// prometheus is a server, and the time that is drawn.
type prometheus struct {
	url        string
	start, end time.Time
	step       time.Duration
}

// series is a result of a query. NaN is a point without a value.
type series struct {
	name   string
	labels map[string]string
	times  []float64
	values []float64
}

func (s *series) last() float64 {
	if len(s.values) == 0 {
		return math.NaN()
	}
	return s.values[len(s.values)-1]
}

// result is the response of Prometheus.
type result struct {
	Status, Error string
	Data          struct {
		Result []struct {
			Metric map[string]string
			Value  sample
			Values []sample
		}
	}
}

type sample [2]any

func (s sample) read() (at, value float64, err error) {
	at, _ = s[0].(float64)
	text, _ := s[1].(string)
	value, err = strconv.ParseFloat(text, 64)
	return at, value, err
}

// query evaluates a target of a panel, in the order of the names of its series.
func (p *prometheus) query(t *target) ([]series, error) {
	path, q := "query_range", url.Values{"query": {t.Expr}}
	if t.Instant {
		path = "query"
		q.Set("time", seconds(p.end))
	} else {
		q.Set("start", seconds(p.start))
		q.Set("end", seconds(p.end))
		q.Set("step", fmt.Sprint(p.step.Seconds()))
	}
	r, err := p.get(path + "?" + q.Encode())
	if err != nil {
		return nil, fmt.Errorf("querying %s: %w", t.Expr, err)
	}
	var out []series
	for _, found := range r.Data.Result {
		s := series{name: t.legend(found.Metric), labels: found.Metric}
		if t.Instant {
			found.Values = []sample{found.Value}
		}
		for _, v := range found.Values {
			at, value, err := v.read()
			if err != nil {
				return nil, fmt.Errorf("querying %s: %w", t.Expr, err)
			}
			s.times, s.values = append(s.times, at), append(s.values, value)
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b series) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

func (p *prometheus) get(path string) (*result, error) {
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{}} // without a proxy
	response, err := client.Get(p.url + "/api/v1/" + path)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	r := &result{}
	if err := json.NewDecoder(response.Body).Decode(r); err != nil {
		return nil, err
	}
	if r.Status != "success" {
		return nil, fmt.Errorf("%s", r.Error)
	}
	return r, nil
}

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
