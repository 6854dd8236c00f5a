// SPDX-License-Identifier: Apache-2.0

// Package freshness tells whether the cache shows what the API server has, and what the
// operator has written itself.
package freshness

import (
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// Confirmed tells whether the cached inputs of rollouts are reliable: whether the cache has
// shown everything that the API server had when the operator started, and every later write
// of the operator. Confirmed is used only by the single worker for policies. A nil value
// takes every cache as reliable.
type Confirmed struct {
	// caughtUp tells that the cache was seen to be as new as the API server. readable tells
	// whether Calico could be read at that time: when Calico becomes readable again, the cache
	// of Calico may be stale again.
	caughtUp, readable bool
	writes             map[drift.Object]ownWrite
	Looked             time.Time
	FirstNodes         FirstNodes
}

// ownWrite is a write that the cache does not show yet. The cache must show the object in
// version or newer; or, if gone is set, no longer show the object in version.
type ownWrite struct {
	version string
	gone    bool
	at      time.Time
}

// Begun tells whether the API server was asked before, or the cache has a write to show.
func (c *Confirmed) Begun() bool { return !c.Looked.IsZero() || len(c.writes) > 0 }

// Reads records whether Calico can be read now.
func (c *Confirmed) Reads(readable bool) {
	c.caughtUp = c.caughtUp && (c.readable || !readable)
	c.readable = readable
}

// Wait returns 0 if the cache is reliable, a negative duration if the API server is to be
// asked now, and otherwise the time until the API server is to be asked.
func (c *Confirmed) Wait(cached map[drift.Object]string, now time.Time) time.Duration {
	youngest := time.Duration(0)
	for object, write := range c.writes {
		if write.shownBy(cached[object]) {
			delete(c.writes, object)
			continue
		}
		youngest = max(youngest, write.at.Add(timing.CacheLag).Sub(now))
	}
	left := c.Looked.Add(timing.CacheLag).Sub(now)
	switch {
	case c.caughtUp && len(c.writes) == 0:
		return 0
	case c.caughtUp && youngest > 0:
		return youngest
	case !c.Looked.IsZero() && left > 0:
		return left
	}
	return -1
}

// Compare records the versions of the API server, and tells whether the cache had all of
// them. The cache becomes reliable once the missing versions are shown. Newer versions do
// not count: in a busy cluster, the cache would never be as new as the next look.
func (c *Confirmed) Compare(cached, there map[drift.Object]string, now time.Time) bool {
	c.Looked, c.caughtUp = now, true
	clear(c.writes)
	for object, version := range there {
		if !atLeast(cached[object], version) {
			c.Wrote(object, version, false, now)
		}
	}
	for object, version := range cached {
		if there[object] == "" {
			c.Wrote(object, version, true, now)
		}
	}
	return len(c.writes) == 0
}

// shownBy tells whether a cache shows the write. version is the cached version of the
// object, empty if the cache does not have the object.
func (w ownWrite) shownBy(version string) bool {
	if w.gone {
		return version == "" || !atLeast(w.version, version)
	}
	return atLeast(version, w.version)
}

// atLeast tells whether a version of an object is at least as new as another version. If
// the two cannot be compared, version counts as the newer.
func atLeast(version, other string) bool {
	if version == "" || other == "" {
		return other == ""
	}
	order, err := resourceversion.CompareResourceVersion(version, other)
	return err != nil || order >= 0
}

// Wrote records the answer to a write.
func (c *Confirmed) Wrote(object drift.Object, version string, gone bool, now time.Time) {
	if c.writes == nil {
		c.writes = map[drift.Object]ownWrite{}
	}
	c.writes[object] = ownWrite{version: version, gone: gone, at: now}
}

// Failed marks the cache as stale after a write without an answer, because the write may
// have been made; or after an answer that shows a stale cache.
func (c *Confirmed) Failed(err error) {
	answered := errors.As(err, new(apierrors.APIStatus))
	if !answered || apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err) {
		c.caughtUp = false
	}
}
