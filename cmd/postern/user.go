//go:build !nocluster

package main

import (
	"context"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// user returns the name that the API server has for the user of the kubeconfig. It is empty if the server does not say it, as those before
// Kubernetes 1.28 do: what the user asked for is done in any case.
func (a *access) user(ctx context.Context) string {
	config, err := a.config().ClientConfig()
	if err != nil {
		return ""
	}
	config.Timeout = loopbackTimeout
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return ""
	}
	review, err := clients.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return ""
	}
	return review.Status.UserInfo.Username
}
