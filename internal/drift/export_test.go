// SPDX-License-Identifier: Apache-2.0

package drift

// Remembered returns how many objects the history holds.
func (h *History) Remembered() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.objects.count()
}

// Rows returns how many contests are kept for an object.
func (h *History) Rows(object Object) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.objects.get(object).contests)
}
