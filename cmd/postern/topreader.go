//go:build !nocluster

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/posterndev/postern/cmd/postern/internal/scrape"
	"github.com/posterndev/postern/controllers/deliver"
	podstatus "github.com/posterndev/postern/controllers/status"
)

// topReader reads sidecars again and again.
type topReader struct {
	options   *topOptions
	clients   kubernetes.Interface
	namespace string
	pods      *podReader
	before    []scrape.Pod
	first     time.Time
	// most bounds the pods that are asked for their lists; 0 for all. atOnce reads the lists with the first read too.
	most   int
	atOnce bool
}

func (t *topReader) show(out io.Writer, view scrape.View, live bool) error {
	if t.options.output == outputJSON {
		return writeJSON(out, view, "  ")
	}
	style := styleOf(out, os.Getenv)
	text := view.Text(style, t.options.byPod, t.options.all)
	if live {
		text = frame(text, style, t.options.interval, view.Time)
	}
	_, err := io.WriteString(out, text)
	return err
}

// read returns what happened since the last call.
func (t *topReader) read(ctx context.Context) (scrape.View, error) {
	pods, err := t.list(ctx)
	if err != nil {
		return scrape.View{}, err
	}
	after := t.pods.metrics(ctx, pods)
	view := scrape.View{Time: time.Now().UTC(), Rows: scrape.Rows(t.before, after, t.options.byPod)}
	if !t.first.IsZero() {
		view.Seconds = view.Time.Sub(t.first).Seconds()
	}
	view.Total = scrape.Total(view.Rows)
	for i := range after {
		if p := &after[i]; p.Err != nil {
			view.Unanswered = append(view.Unanswered, fmt.Sprintf("%s/%s: %v", p.Namespace, p.Name, p.Err))
		}
	}
	if (t.options.accounts || t.options.addresses) && (t.atOnce || !t.first.IsZero()) {
		lists, failures := t.lists(ctx, pods)
		view.Lists, view.Unanswered = lists, append(view.Unanswered, failures...)
	}
	t.before, t.first = after, view.Time
	return view, nil
}

func (t *topReader) lists(ctx context.Context, pods []*corev1.Pod) (*scrape.Lists, []string) {
	asked := pods
	if t.most > 0 {
		asked = pods[:min(len(pods), t.most)]
	}
	tops, failures := t.pods.tops(ctx, asked)
	if len(asked) < len(pods) {
		failures = append(failures, fmt.Sprintf("top lists: only %d of %d pods were asked", len(asked), len(pods)))
	}
	lists := scrape.Merge(tops, t.options.limit)
	if !t.options.accounts {
		lists.Accounts = nil
	}
	if !t.options.addresses {
		lists.Addresses, lists.Refused = nil, nil
	}
	return &lists, failures
}

// list returns the running pods with a sidecar, of one policy if one is named.
func (t *topReader) list(ctx context.Context) ([]*corev1.Pod, error) {
	var out []*corev1.Pod
	policies := map[string]bool{}
	for next := ""; ; {
		list, err := t.clients.CoreV1().Pods(t.namespace).List(ctx, metav1.ListOptions{Limit: pageSize, Continue: next})
		if apierrors.IsForbidden(err) {
			where := "namespace " + t.namespace
			if t.namespace == "" {
				where = "all namespaces: name one with -n"
			}
			return nil, errors.New("you may not list pods in " + where)
		}
		if err != nil {
			return nil, fmt.Errorf("listing pods: %w", err)
		}
		for i := range list.Items {
			pod := &list.Items[i]
			bound, ok := deliver.BoundPolicy(pod)
			if !ok || podstatus.Inactive(pod) || pod.Status.PodIP == "" {
				continue
			}
			policies[bound] = true
			if t.options.policy == "" || bound == t.options.policy {
				out = append(out, pod)
			}
		}
		if next = list.Continue; next == "" {
			break
		}
	}
	if len(out) == 0 && t.options.policy != "" {
		return nil, fmt.Errorf("no running pod runs the policy %q; pods run: %v", t.options.policy, sortedKeys(policies))
	}
	return out, nil
}
