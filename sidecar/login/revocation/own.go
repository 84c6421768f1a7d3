package revocation

import "context"

// Own is a Store that also tells the sidecar's own Index, so that a sidecar refuses what was revoked by it from the moment
// that it answers so. The store's feed tells every other sidecar, and comes round to this one a little later.
type Own struct {
	Store Store
	Index *Index
}

// Add implements Store. What the store did not take is not told: the caller learns that it is not revoked.
func (o Own) Add(ctx context.Context, entries ...Entry) (Position, error) {
	p, err := o.Store.Add(ctx, entries...)
	if err == nil {
		o.Index.table.add(entries, o.Index.config.Now())
	}
	return p, err
}
