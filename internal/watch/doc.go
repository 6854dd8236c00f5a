// SPDX-License-Identifier: Apache-2.0

// Package watch has what the watches of all reconcilers share: how an event becomes a
// request, which changes count, and the caches beside the manager's.
package watch
