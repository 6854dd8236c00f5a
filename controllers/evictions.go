// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"sync"
	"time"
)

const (
	// evictionPause is how long the pods of nodes that were given a NoExecute taint have
	// to run elsewhere, before others are evicted.
	evictionPause = 10 * time.Second
	// evictionShare is the part of all nodes, one in so many, that may be given one at
	// the same time.
	evictionShare = 10
)

// Evictions has nodes be given NoExecute taints a share at a time: all at once would
// leave nowhere to go. The zero value is ready; it is safe for concurrent use.
type Evictions struct {
	mu    sync.Mutex
	begun map[string]time.Time // by node
}

// wait returns how long a node must wait for its turn, or takes the turn if that is
// now.
func (e *Evictions) wait(node string, nodes int, pause time.Duration, now time.Time) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.begun == nil {
		e.begun = map[string]time.Time{}
	}
	first := pause
	for other, when := range e.begun {
		left := when.Add(pause).Sub(now)
		if left <= 0 {
			delete(e.begun, other)
		} else {
			first = min(first, left)
		}
	}
	_, has := e.begun[node]
	if !has && len(e.begun) >= max(1, nodes/evictionShare) {
		return first
	}
	if !has {
		e.begun[node] = now
	}
	return 0
}
