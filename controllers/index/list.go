package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/contextlog"
)

const (
	// maxTable bounds the bytes of a table. A row holds what the columns of the CRD print.
	maxTable = 4 << 20
	// maxMetadata bounds the bytes of a list of metadata, which can have 256 KiB of annotations for each policy.
	maxMetadata = 32 << 20
)

// Forms of a list that the API server offers.
const (
	acceptTable    = "application/json;as=Table;v=v1;g=meta.k8s.io"
	acceptMetadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
)

// KeyLister lists keys from the API server. It asks for the table that kubectl prints, without the objects: for a list of metadata
// the API server converts the managed fields of each policy, which takes most of its time. It decodes one policy at a time, so that
// its memory does not grow with the number of policies.
type KeyLister struct {
	client rest.Interface
	// warn is called for a table without the columns.
	warn func(context.Context)
}

// NewKeyLister returns a lister that connects with config.
func NewKeyLister(config *rest.Config) (*KeyLister, error) {
	config = rest.CopyConfig(config)
	config.GroupVersion, config.APIPath = &v1alpha1.GroupVersion, "/apis"
	config.NegotiatedSerializer = serializer.WithoutConversionCodecFactory{CodecFactory: scheme.Codecs}
	// Both ends would spend more on gzip than on the rest of the list.
	config.DisableCompression = true
	c, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("creating client of tables: %w", err)
	}
	var once sync.Once
	return &KeyLister{c, func(ctx context.Context) {
		once.Do(func() {
			contextlog.From(ctx).WarnContext(ctx, "the CRD of SecurityPolicies is older than the operator, so that each read for new pods costs two: apply the CRDs of this version")
		})
	}}, nil
}

// Keys implements Lister. Without a resourceVersion the API server answers with its newest state.
func (l *KeyLister) Keys(ctx context.Context, namespace string) ([]Key, error) {
	keys, err := l.read(ctx, namespace, acceptTable)
	if errors.Is(err, errNoColumns) {
		l.warn(ctx)
		return l.read(ctx, namespace, acceptMetadata)
	}
	return keys, err
}

func (l *KeyLister) read(ctx context.Context, namespace, accept string) ([]Key, error) {
	request := l.client.Get().Namespace(namespace).Resource("securitypolicies").SetHeader("Accept", accept)
	bound, decode := maxMetadata, decodeItems
	if accept == acceptTable {
		request, bound, decode = request.Param("includeObject", "None"), maxTable, decodeRows
	}
	body, err := request.Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	limited := &io.LimitedReader{R: body, N: int64(bound)}
	keys, err := decode(limited)
	if err != nil && limited.N <= 0 {
		return nil, fmt.Errorf("the list of the namespace's policies has more than %d bytes: remove annotations or policies", bound)
	}
	return keys, err
}
