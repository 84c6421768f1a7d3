package server

import (
	"context"
	"time"
)

// startPagesInterval is the pause between two looks for the first document, and the one after it, in which what the document begins is done.
const startPagesInterval = 500 * time.Millisecond

// giveBackStartPages waits until a document is active, and then unmaps the code and the tables of the binary that are in memory: initializing
// all packages has touched nearly every part of them, and most parts are not used again. The kernel keeps the pages in its cache, where all sidecars of
// a node share them, and maps those that are used again, 16 at a time, without reading them from the disk. So they no longer count as this
// process's memory, and the kernel may drop them first when memory is short.
func (s *sidecar) giveBackStartPages(ctx context.Context) {
	ticker := time.NewTicker(startPagesInterval)
	defer ticker.Stop()
	for s.enforcer.current().Snapshot == nil {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
	select {
	case <-ctx.Done():
		return
	case <-ticker.C:
	}
	if err := unmapStartPages(); err != nil {
		s.cfg.Logger.DebugContext(ctx, "giving back the pages of the start", "error", err)
	}
}
