// SPDX-License-Identifier: Apache-2.0

// Package schedule tells when something may happen next: the next stage of writes, the next
// node of a rollout, the next eviction, the next retry. The package keeps times in memory
// only, so a restarted operator waits once more.
package schedule
