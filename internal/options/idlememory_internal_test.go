// SPDX-License-Identifier: Apache-2.0

package options

import (
	"context"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

const mebibyte = 1 << 20

// Memory is returned once after a burst, but not while the operator works, and not in small amounts.
func TestMemoryIsReturnedAfterABurst(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(checks int) time.Time { return start.Add(time.Duration(checks) * timing.MemoryCheck) }
	for name, test := range map[string]struct {
		uses []memoryUse
		want []bool
	}{
		"the first look has no earlier one to compare": {[]memoryUse{{7, 80 * mebibyte, 200 * mebibyte}}, []bool{false}},
		"at rest": {[]memoryUse{{7, 80 * mebibyte, 200 * mebibyte}, {7, 80 * mebibyte, 200 * mebibyte}}, []bool{false, true}},
		"garbage is collected": {[]memoryUse{
			{7, 80 * mebibyte, 200 * mebibyte}, {8, 80 * mebibyte, 200 * mebibyte}, {9, 80 * mebibyte, 200 * mebibyte},
		}, []bool{false, false, false}},
		"at rest after the burst": {[]memoryUse{
			{7, 80 * mebibyte, 200 * mebibyte}, {8, 80 * mebibyte, 200 * mebibyte}, {8, 80 * mebibyte, 200 * mebibyte},
		}, []bool{false, false, true}},
		"a sixteenth of a large program": {[]memoryUse{{7, 80 * mebibyte, 85 * mebibyte}, {7, 80 * mebibyte, 85 * mebibyte}}, []bool{false, true}},
		"less than a sixteenth":          {[]memoryUse{{7, 80 * mebibyte, 84 * mebibyte}, {7, 80 * mebibyte, 84 * mebibyte}}, []bool{false, false}},
		"4 MiB of a small program":       {[]memoryUse{{7, 8 * mebibyte, 12 * mebibyte}, {7, 8 * mebibyte, 12 * mebibyte}}, []bool{false, true}},
		"less than 4 MiB":                {[]memoryUse{{7, 8 * mebibyte, 11 * mebibyte}, {7, 8 * mebibyte, 11 * mebibyte}}, []bool{false, false}},
		"a Go without these figures":     {[]memoryUse{{}, {}}, []bool{false, false}},
		"more in use than held":          {[]memoryUse{{7, 80 * mebibyte, 9}, {7, 80 * mebibyte, 9}}, []bool{false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			var memory idleMemory
			for i, use := range test.uses {
				NewWithT(t).Expect(memory.isDue(use, at(i))).To(Equal(test.want[i]), "look %d", i)
			}
		})
	}
}

// Memory that cannot be returned is not tried again, and no two tries are within one pause.
func TestReturnsOfMemoryAreBounded(t *testing.T) {
	g, now := NewWithT(t), time.Unix(1000, 0)
	memory := idleMemory{collections: 7}
	burst := memoryUse{7, 80 * mebibyte, 200 * mebibyte}
	g.Expect(memory.isDue(burst, now)).To(BeTrue())
	memory.noteReturn(memoryUse{8, 80 * mebibyte, 120 * mebibyte}, now) // 40 MiB of free space between objects

	again := memoryUse{8, 80 * mebibyte, 200 * mebibyte}
	g.Expect(memory.isDue(again, now.Add(timing.MemoryReturnPause-1))).To(BeFalse(), "too soon")
	later := now.Add(timing.MemoryReturnPause)
	g.Expect(memory.isDue(memoryUse{8, 80 * mebibyte, 124 * mebibyte}, later)).To(BeFalse(), "mostly free space between objects")
	g.Expect(memory.isDue(again, later)).To(BeTrue())
	memory.noteReturn(memoryUse{9, 80 * mebibyte, 120 * mebibyte}, later)
	g.Expect(memory.isDue(memoryUse{9, 30 * mebibyte, 120 * mebibyte}, later.Add(timing.MemoryReturnPause))).To(BeTrue(),
		"objects have gone since")
}

// The memory of a real burst is returned to the machine.
func TestFreedMemoryIsReturnedToTheMachine(t *testing.T) {
	g := NewWithT(t)
	released := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/released:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	// No look yet: where Go has not collected yet, it could return the memory from before the
	// burst, and the next return would have to wait.
	var memory idleMemory
	burst := make([][]byte, 0, 64)
	for range cap(burst) {
		block := make([]byte, mebibyte)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		burst = append(burst, block)
	}
	runtime.KeepAlive(burst)
	runtime.GC() // the last collection of the burst: Go knows what is in use from collections
	before, held := released(), readMemoryUse().held
	g.Expect(held).To(BeNumerically(">", 60*mebibyte))
	look := func() bool { return memory.look(time.Now()) }
	g.Eventually(look).Should(BeTrue())
	t.Logf("held: %d MiB before, %d MiB after", held/mebibyte, readMemoryUse().held/mebibyte)
	g.Expect(readMemoryUse().held).To(BeNumerically("<", held-48*mebibyte))
	g.Expect(released()).To(BeNumerically(">", before+48*mebibyte))
	g.Expect(look()).To(BeFalse(), "no more memory can be returned")
}

// The loop ends with the program, and does not start if the user configures the memory.
func TestReturningMemoryEnds(t *testing.T) {
	ended := func(ctx context.Context, gogc string) <-chan struct{} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			returnIdleMemory(ctx, func(string) string { return gogc })
		}()
		return done
	}
	g := NewWithT(t)
	g.Eventually(ended(t.Context(), "off")).Should(BeClosed())
	ctx, cancel := context.WithCancel(t.Context())
	running := ended(ctx, "50")
	g.Consistently(running, "50ms").ShouldNot(BeClosed())
	cancel()
	g.Eventually(running).Should(BeClosed())
}
