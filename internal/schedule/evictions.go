// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// evictionShare limits evictions: one in evictionShare nodes may get a NoExecute taint at
	// the same time.
	evictionShare = 10
)

// Evictions limits how many nodes get a NoExecute taint at the same time: with all nodes
// tainted at once, evicted pods would have nowhere to go. The zero value is ready to use.
// Evictions is safe for concurrent use.
type Evictions struct {
	mu    sync.Mutex
	begun Timers[string] // by node
}

// Wait returns how long a node must wait before getting the taint. If the node need not
// wait, the node takes a place and the result is 0.
func (e *Evictions) Wait(node string, nodes int, pause time.Duration, now time.Time) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	running := e.begun.Running(pause, now)
	if _, has := running[node]; has {
		return 0
	}
	if len(running) >= max(1, nodes/evictionShare) {
		return slices.Min(slices.Collect(maps.Values(running)))
	}
	e.begun.Set(node, now)
	return 0
}
