//go:build !nocluster

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/posterndev/postern/cmd/postern/internal/doctor"
)

// maxProxied bounds a response that is read from a pod, in bytes.
const maxProxied = 8 << 20

// podProxy reads from pods through the API server, as kubectl get --raw does. It needs permission to get pods/proxy.
type podProxy struct {
	client  *http.Client
	clients kubernetes.Interface
}

func newPodProxy(config *rest.Config, clients kubernetes.Interface) (*podProxy, error) {
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the API server: %w", err)
	}
	return &podProxy{c, clients}, nil
}

// get returns the response of a port of the pod, and what the response says about its clock. The pod is not trusted.
func (p *podProxy) get(ctx context.Context, namespace, pod string, port int, path string) ([]byte, doctor.Clock, error) {
	u := p.clients.CoreV1().RESTClient().Get().Namespace(namespace).Resource("pods").Name(fmt.Sprintf("http:%s:%d", pod, port)).
		SubResource("proxy").Suffix(path).URL()
	return fetch(ctx, p.client, u.String())
}

// fetch gets a URL. An error of the API server is an apierrors.StatusError.
func fetch(ctx context.Context, c *http.Client, url string) ([]byte, doctor.Clock, error) {
	var clock doctor.Clock
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, clock, err
	}
	clock.Sent = time.Now()
	response, err := c.Do(r)
	if err != nil {
		return nil, clock, err
	}
	defer response.Body.Close()
	clock.Received = time.Now()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxProxied+1))
	switch {
	case err != nil:
		return nil, clock, err
	case len(body) > maxProxied:
		return nil, clock, fmt.Errorf("the response has more than %d bytes", maxProxied)
	case response.StatusCode != http.StatusOK:
		return nil, clock, statusError(response.StatusCode, body)
	}
	clock.Remote, err = http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		err = errors.New("the response has no Date")
	}
	return body, clock, err
}

func statusError(code int, body []byte) error {
	var status metav1.Status
	if json.Unmarshal(body, &status) == nil && status.Kind == "Status" {
		status.Code = int32(code)
		return &apierrors.StatusError{ErrStatus: status}
	}
	return fmt.Errorf("the response has status %d", code)
}
