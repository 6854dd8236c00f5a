// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// firstNodes waits until the cache shows the Nodes that the API server had when this
// operator began. An older list may lack a node that has joined: its address would be
// removed from the network sets, and the node be cut off, until the watch shows it. The
// zero value is ready.
type firstNodes struct {
	asked    time.Time
	missing  map[string]string // resource versions by name that the cache has not shown yet
	complete bool
}

// behind says whether the cache may be older than the operator. What it lacks is asked
// for again after a while: a node may have been deleted meanwhile.
func (f *firstNodes) behind(
	ctx context.Context, cached []corev1.Node, ask func(context.Context) (map[string]string, error), now time.Time,
) (bool, error) {
	if f.complete {
		return false, nil
	}
	if f.asked.IsZero() || !now.Before(f.asked.Add(lookAgain)) {
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
