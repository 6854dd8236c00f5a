// SPDX-License-Identifier: Apache-2.0

package freshness

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// FirstNodes waits until the cache shows all Nodes that the API server had at the start of
// the operator. A stale list may lack a node that has joined: the operator would remove the
// node's address from the network sets and cut the node off, until the watch shows the
// node. The zero value is ready to use.
type FirstNodes struct {
	asked    time.Time
	missing  map[string]string // resource versions by name, not yet shown by the cache
	complete bool
}

// Behind tells whether the cache may be older than the operator. The list of Nodes is
// requested again from time to time, because a missing node may have been deleted
// meanwhile.
func (f *FirstNodes) Behind(
	ctx context.Context, cached []*corev1.Node, ask func(context.Context) (map[string]string, error), now time.Time,
) (bool, error) {
	if f.complete {
		return false, nil
	}
	if f.asked.IsZero() || !now.Before(f.asked.Add(timing.AskAgain)) {
		versions, err := ask(ctx)
		if err != nil {
			return true, err
		}
		f.asked, f.missing = now, versions
	}
	for i := range cached {
		if version, is := f.missing[cached[i].Name]; is && atLeast(cached[i].ResourceVersion, version) {
			delete(f.missing, cached[i].Name)
		}
	}
	f.complete = len(f.missing) == 0
	return !f.complete, nil
}
