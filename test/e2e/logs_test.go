//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/posterndev/postern/controllers/render"
)

// logs follow the logs of the sidecars and of all that the chart runs, while their pods live.
type logs struct {
	clients kubernetes.Interface
	stop    context.CancelFunc
	streams sync.WaitGroup

	mu sync.Mutex
	// texts are the logs by container: namespace, pod, name and id.
	texts  map[string]*shared
	unread []string
}

// followLogs begins to follow.
func followLogs(ctx context.Context) (*logs, error) {
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w (test/e2e/run.sh sets KUBECONFIG)", err)
	}
	config.QPS = -1
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	l := &logs{clients: clients, stop: stop, texts: map[string]*shared{}}
	factory := informers.NewSharedInformerFactory(clients, 0)
	pods := factory.Core().V1().Pods().Informer()
	see := func(object any) {
		if pod, ok := object.(*corev1.Pod); ok {
			l.see(ctx, pod)
		}
	}
	if _, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, object any) { see(object) }, DeleteFunc: see}); err != nil {
		stop()
		return nil, err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), pods.HasSynced) {
		stop()
		return nil, errors.New("watching pods: no response")
	}
	return l, nil
}

// see follows the containers of a pod that have started.
func (l *logs) see(ctx context.Context, pod *corev1.Pod) {
	for _, st := range append(append([]corev1.ContainerStatus(nil), pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...) {
		if pod.Namespace != systemNamespace && st.Name != render.SidecarName && st.Name != render.RedirectName {
			continue
		}
		if last := st.LastTerminationState.Terminated; last != nil {
			l.follow(ctx, pod, st.Name, last.ContainerID, true)
		}
		if st.State.Running != nil || st.State.Terminated != nil {
			l.follow(ctx, pod, st.Name, st.ContainerID, false)
		}
	}
}

// follow reads the log of a container until its end, once.
func (l *logs) follow(ctx context.Context, pod *corev1.Pod, container, id string, previous bool) {
	name := strings.Join([]string{pod.Namespace, pod.Name, container, id}, "_")
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.texts[name] != nil || id == "" {
		return
	}
	text := &shared{}
	l.texts[name] = text
	l.streams.Go(func() {
		for {
			stream, err := l.clients.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, Follow: !previous, Previous: previous}).Stream(ctx)
			if err == nil {
				_, _ = io.Copy(text, stream)
				_ = stream.Close()
				return
			}
			if ctx.Err() != nil || apierrors.IsNotFound(err) || previous {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.unread = append(l.unread, name)
				return
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
}

// plant starts a pod that takes itself for a sidecar, and logs a secret. It is how the scan shows that it works.
func (l *logs) plant(ctx context.Context, secret string) (remove func(), err error) {
	name := "e2e-planted-" + strings.ToLower(rand.Text()[:8])
	if _, err := l.clients.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	remove = func() { _, _ = kubectl("delete", "namespace", name, "--wait=false") }
	_, err = l.clients.CoreV1().Pods(name).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "planted"},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: ptr.To(false), TerminationGracePeriodSeconds: ptr.To(int64(1)),
			Containers: []corev1.Container{{
				Name: render.SidecarName, Image: sampleImage, ImagePullPolicy: corev1.PullNever,
				Args: []string{"get", "-within", "24h", "http://127.0.0.1:1/" + secret},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		remove()
	}
	return remove, err
}

// await waits until a text is in the logs.
func (l *logs) await(text string) bool {
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		for _, log := range l.all() {
			if strings.Contains(log.String(), text) {
				return true
			}
		}
	}
	return false
}

func (l *logs) all() map[string]*shared {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]*shared, len(l.texts))
	for name, text := range l.texts {
		out[name] = text
	}
	return out
}

// scan stops following, and returns what is wrong: a line for each secret that is in a log other than the planted one, which must be there.
func (l *logs) scan(planted string) (problems []string, summary string) {
	found := l.await(planted)
	time.Sleep(time.Second) // what containers have just written is on its way
	l.stop()
	l.streams.Wait()
	began, bytesRead, lines := time.Now(), 0, 0
	var isPlanted bool
	for name, text := range l.texts {
		content := []byte(text.String())
		bytesRead, lines = bytesRead+len(content), lines+bytes.Count(content, []byte("\n"))
		for _, f := range secrets.search(content) {
			if f.what == plantedSecret {
				isPlanted = true
				continue
			}
			problems = append(problems, fmt.Sprintf("%s is in the log of %s: %.600s", f.what, name, f.line))
		}
	}
	if !found || !isPlanted {
		problems = append(problems, "the scan of logs does not find the secret that was planted, so it would find no other one either")
	}
	return problems, fmt.Sprintf("logs of %d containers (%d could not be read), %d lines, %d KiB, searched for %d secrets in %s",
		len(l.texts), len(l.unread), lines, bytesRead>>10, len(secrets.known), since(began))
}

// plantedSecret describes the planted secret.
const plantedSecret = "the planted secret"

// run runs the tests, and then looks for secrets in all logs.
func run(tests func() int) int {
	defer func() {
		if path, err := plugin(); err == nil {
			_ = os.RemoveAll(filepath.Dir(path))
		}
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l, err := followLogs(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "following the logs of sidecars: %v\n", err)
		return 1
	}
	secret := "planted-" + rand.Text()
	secrets.add(plantedSecret, secret)
	remove, err := l.plant(ctx, secret)
	if err != nil {
		fmt.Fprintf(os.Stderr, "planting a secret: %v\n", err)
		return 1
	}
	code := tests()
	problems, summary := l.scan(secret)
	remove()
	if err := note(summary); err != nil {
		fmt.Fprintf(os.Stderr, "writing down a figure: %v\n", err)
	}
	fmt.Println(summary)
	if len(problems) == 0 {
		return code
	}
	fmt.Printf("--- FAIL: %d secrets in logs\n    %s\n", len(problems), strings.Join(problems[:min(len(problems), 40)], "\n    "))
	return max(code, 1)
}
