// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

// A burst of work, such as the first convergence of a policy, leaves garbage and free room
// that Go keeps for the next burst, which may come days later. Go collects the garbage of a
// program at rest after two minutes, and then still keeps half of the memory that the
// program uses. So memory is returned to the machine as soon as the program is at rest.
// Memory freed since the last collection is known only after the next collection, and so is
// returned after the two minutes.

// minWaste is the least garbage and free room, in bytes, for which memory is returned, and
// minWastePart the least part of the memory in use. A collection takes about a millisecond of
// processor time for each MiB in use, at most once in MemoryReturnPause.
const (
	minWaste     = 4 << 20
	minWastePart = 16
)

// memoryUse is what Go says about the memory of the program.
type memoryUse struct {
	// collections is the number of garbage collections until now.
	collections uint64
	// live are the bytes of the objects that were in use at the last collection, and held are
	// the bytes that the program has from the machine for objects.
	live, held uint64
}

// waste is the held memory that no object in use needs.
func (u memoryUse) waste() uint64 { return u.held - min(u.held, u.live) }

// idleMemory decides when memory is returned. The zero value is ready to use.
type idleMemory struct {
	collections uint64
	// kept is the waste right after the last return: room between objects, which cannot be
	// returned. next is the earliest time of the next return.
	kept uint64
	next time.Time
}

// isDue tells whether to return memory now: no collection was needed since the last
// question, so the program allocates little, and much can be returned.
func (m *idleMemory) isDue(use memoryUse, now time.Time) bool {
	atRest := use.collections == m.collections
	m.collections = use.collections
	return atRest && !now.Before(m.next) && use.waste() >= m.kept+max(minWaste, use.live/minWastePart)
}

// noteReturn notes what the program holds after a return.
func (m *idleMemory) noteReturn(use memoryUse, now time.Time) {
	m.collections, m.kept, m.next = use.collections, use.waste(), now.Add(timing.MemoryReturnPause)
}

// returnIdleMemory returns memory to the machine until the context ends, whenever the program
// has come to rest. Whoever has switched the collection of garbage off with GOGC=off decides
// about memory alone.
func returnIdleMemory(ctx context.Context, environment func(string) string) {
	if environment("GOGC") == "off" {
		return
	}
	var memory idleMemory
	ticks := time.NewTicker(timing.MemoryCheck)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticks.C:
			memory.look(now)
		}
	}
}

// look returns memory if a return is due.
func (m *idleMemory) look(now time.Time) (returned bool) {
	if !m.isDue(readMemoryUse(), now) {
		return false
	}
	debug.FreeOSMemory()
	m.noteReturn(readMemoryUse(), now)
	return true
}

// readMemoryUse asks Go, which takes some microseconds and stops nothing.
func readMemoryUse() memoryUse {
	samples := []metrics.Sample{
		{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	value := func(i int) uint64 {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0 // a later Go may not have the metric: then nothing is returned
		}
		return samples[i].Value.Uint64()
	}
	return memoryUse{collections: value(0), live: value(1), held: value(2) + value(3) + value(4)}
}
