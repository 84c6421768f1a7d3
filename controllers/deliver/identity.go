package deliver

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
	authnv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
)

// How long a TokenReview is cached, how many are cached, and how long one may take. A deleted pod is noticed earlier, because
// the pod is looked up with each poll.
const (
	trustFor      = time.Minute
	distrustFor   = 10 * time.Second
	maxTokens     = 32 << 10
	maxRefused    = 4 << 10
	reviewTimeout = 10 * time.Second
	maxTokenSize  = 16 << 10
)

// Names under which a TokenReview says which pod a token is bound to.
const (
	extraPodName = "authentication.kubernetes.io/pod-name"
	extraPodUID  = "authentication.kubernetes.io/pod-uid"
)

// errToken is for a token that does not name a pod: forged, expired, of another audience, or bound to no pod.
var errToken = errors.New("the token does not authenticate a pod to the operator")

// podID is a pod as its token names it.
type podID struct {
	types.NamespacedName
	uid types.UID
}

// authenticator asks the API server which pod a token belongs to.
type authenticator struct {
	reviews client.Writer
	slots   chan struct{}
	// known holds valid tokens and refused the others, in a cache of their own so that they cannot evict valid ones.
	known   *cache.LRUExpireCache
	refused *cache.LRUExpireCache
	flights singleflight.Group
}

func newAuthenticator(reviews client.Writer, slots int, c clock.PassiveClock) *authenticator {
	return &authenticator{
		reviews: reviews, slots: make(chan struct{}, slots),
		known: cache.NewLRUExpireCacheWithClock(maxTokens, c), refused: cache.NewLRUExpireCacheWithClock(maxRefused, c),
	}
}

// authenticate returns the pod that the token is bound to; errToken if there is none, another error if the API server could
// not be asked. Only the SHA-256 of a token is kept.
func (a *authenticator) authenticate(ctx context.Context, token string) (podID, error) {
	if token == "" || len(token) > maxTokenSize {
		return podID{}, errToken
	}
	sum := sha256.Sum256([]byte(token))
	for _, results := range []*cache.LRUExpireCache{a.known, a.refused} {
		if v, ok := results.Get(sum); ok {
			return verdict(v)
		}
	}
	// One review serves all polls with the same token, so it must not end with the first of them.
	result := a.flights.DoChan(string(sum[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reviewTimeout)
		defer cancel()
		return a.review(ctx, token, sum)
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return podID{}, r.Err
		}
		return verdict(r.Val)
	case <-ctx.Done():
		return podID{}, ctx.Err()
	}
}

// review asks the API server and caches the result: a podID, or errToken.
func (a *authenticator) review(ctx context.Context, token string, sum [sha256.Size]byte) (any, error) {
	if err := acquire(ctx, a.slots); err != nil {
		return nil, fmt.Errorf("waiting to review token: %w", err)
	}
	defer release(a.slots)
	r := &authnv1.TokenReview{Spec: authnv1.TokenReviewSpec{Token: token, Audiences: []string{compiled.OperatorAudience}}}
	if err := a.reviews.Create(ctx, r); err != nil {
		return nil, fmt.Errorf("reviewing token: %w", err)
	}
	id, err := podOf(&r.Status)
	if err != nil {
		a.refused.Add(sum, err, distrustFor)
		return err, nil
	}
	a.known.Add(sum, id, trustFor)
	return id, nil
}

func verdict(v any) (podID, error) {
	if id, ok := v.(podID); ok {
		return id, nil
	}
	return podID{}, errToken
}

// podOf returns the pod of a review. A review without audiences, from an API server that does not support them, is refused.
func podOf(status *authnv1.TokenReviewStatus) (podID, error) {
	if !status.Authenticated || !slices.Contains(status.Audiences, compiled.OperatorAudience) {
		return podID{}, errToken
	}
	account, ok := strings.CutPrefix(status.User.Username, "system:serviceaccount:")
	namespace, name, both := strings.Cut(account, ":")
	if !ok || !both || namespace == "" || name == "" {
		return podID{}, errToken
	}
	pod, uid := status.User.Extra[extraPodName], status.User.Extra[extraPodUID]
	if len(pod) != 1 || len(uid) != 1 || pod[0] == "" || uid[0] == "" {
		return podID{}, errToken
	}
	return podID{types.NamespacedName{Namespace: namespace, Name: pod[0]}, types.UID(uid[0])}, nil
}
