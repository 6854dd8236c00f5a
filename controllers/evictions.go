// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"sync"
	"time"
)

const (
	// evictionPause is how long evicted pods have to start on other nodes before the operator
	// evicts pods of further nodes with a NoExecute taint.
	evictionPause = 10 * time.Second
	// evictionShare limits evictions: one in evictionShare nodes may get a NoExecute taint at
	// the same time.
	evictionShare = 10
)

// Evictions limits how many nodes get a NoExecute taint at the same time: with all nodes
// tainted at once, evicted pods would have nowhere to go. The zero value is ready to use.
// Evictions is safe for concurrent use.
type Evictions struct {
	mu    sync.Mutex
	begun map[string]time.Time // by node
}

// wait returns how long a node must wait before getting the taint. If the node need not
// wait, the node takes a place and the result is 0.
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
