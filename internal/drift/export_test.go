// SPDX-License-Identifier: Apache-2.0

package drift

// Remembered returns how many objects the history holds.
func (h *History) Remembered() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.objects)
}

// Rows returns how many rows are kept of an object.
func (h *History) Rows(object Object) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.objects[object].rows)
}
