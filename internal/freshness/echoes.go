// SPDX-License-Identifier: Apache-2.0

package freshness

import (
	"sync"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
)

// Echoes tell the events of the operator's own writes from the events of other writers. The
// answer to a write was compared with what is declared, so the event of the write needs no
// further look at the object. The zero value is ready to use, and a nil value knows no
// echo. Echoes is safe for concurrent use.
type Echoes struct {
	mu sync.Mutex
	// writing are the objects whose write has not been answered yet, and written are the
	// versions of the last answers.
	writing map[drift.Object]bool
	written map[drift.Object]string
}

// maxEchoes bounds the number of remembered answers. A full memory starts anew: an echo that
// is not known costs a reconciliation.
const maxEchoes = 4096

// IsEcho tells whether a version of an object may be the operator's own last write. While a
// write is not answered, its version is not known, and every version may be.
func (e *Echoes) IsEcho(object drift.Object, version string) bool {
	if e == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.writing[object] || version != "" && e.written[object] == version
}

// begin notes that an object is being written. The result is to be called with the version
// in the answer; empty after an error.
func (e *Echoes) begin(object drift.Object) (answered func(version string)) {
	if e == nil {
		return func(string) {}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.writing == nil {
		e.writing = map[drift.Object]bool{}
	}
	e.writing[object] = true
	return func(version string) { e.end(object, version) }
}

func (e *Echoes) end(object drift.Object, version string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.writing, object)
	if e.written == nil || len(e.written) >= maxEchoes {
		e.written = map[drift.Object]string{}
	}
	e.written[object] = version
}
