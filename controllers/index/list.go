package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// maxListing bounds the bytes of one list. Metadata can have 256 KiB of annotations for each policy.
const maxListing = 32 << 20

// accept asks for metadata alone.
const accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"

// MetadataLister lists keys from the API server. It reads metadata alone, and decodes one item at a time, so that its memory does
// not grow with the number of policies.
type MetadataLister struct{ client rest.Interface }

// NewMetadataLister returns a lister that connects with config.
func NewMetadataLister(config *rest.Config) (*MetadataLister, error) {
	config = rest.CopyConfig(config)
	config.GroupVersion, config.APIPath = &v1alpha1.GroupVersion, "/apis"
	config.NegotiatedSerializer = serializer.WithoutConversionCodecFactory{CodecFactory: scheme.Codecs}
	// Both ends would spend more on gzip than on the rest of the list.
	config.DisableCompression = true
	c, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("creating client of metadata: %w", err)
	}
	return &MetadataLister{c}, nil
}

// Keys implements Lister. Without a resourceVersion the API server answers with its newest state.
func (l *MetadataLister) Keys(ctx context.Context, namespace string) ([]Key, error) {
	body, err := l.client.Get().Namespace(namespace).Resource("securitypolicies").SetHeader("Accept", accept).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	limited := &io.LimitedReader{R: body, N: maxListing}
	keys, err := decodeKeys(limited)
	if err != nil && limited.N <= 0 {
		return nil, fmt.Errorf("the metadata of the namespace's policies has more than %d bytes: remove annotations or policies", maxListing)
	}
	return keys, err
}

// decodeKeys decodes a PartialObjectMetadataList.
func decodeKeys(r io.Reader) ([]Key, error) {
	d := json.NewDecoder(r)
	depth, err := enterItems(d)
	if err != nil {
		return nil, fmt.Errorf("decoding list: %w", err)
	}
	var keys []Key
	for depth == inItems && d.More() {
		var item struct {
			Metadata Key `json:"metadata"`
		}
		if err := d.Decode(&item); err != nil {
			return nil, fmt.Errorf("decoding item: %w", err)
		}
		if item.Metadata.Name == "" || item.Metadata.UID == "" {
			return nil, fmt.Errorf("decoding item %d: it has no name or no uid", len(keys))
		}
		if keys = append(keys, item.Metadata); len(keys) > compile.MaxPolicies {
			return nil, ErrTooMany
		}
	}
	// A list that was cut off must not pass for a short one.
	for depth >= 0 {
		token, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("decoding end of list: %w", err)
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
	return keys, nil
}

// Depths of the decoder in a list.
const (
	inList  = 0
	inItems = 1
)

// enterItems moves to the first member of the list's items, and returns inItems. The API server writes null for the items of an empty
// list of metadata: then enterItems moves behind them, and returns inList.
func enterItems(d *json.Decoder) (depth int, err error) {
	token, err := d.Token()
	if err != nil {
		return 0, err
	}
	if token != json.Delim('{') {
		return 0, fmt.Errorf("it begins with %v and is not an object", token)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return 0, err
		}
		if name != "items" {
			var skipped json.RawMessage
			if err := d.Decode(&skipped); err != nil {
				return 0, err
			}
			continue
		}
		switch token, err := d.Token(); {
		case err != nil:
			return 0, err
		case token == nil:
			return inList, nil
		case token == json.Delim('['):
			return inItems, nil
		default:
			return 0, fmt.Errorf("its items begin with %v and are not a list", token)
		}
	}
	return 0, errors.New("it has no items")
}
