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

// Memory is returned once after a burst, and not while there is work, or for little.
func TestMemoryIsReturnedAfterABurst(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(checks int) time.Time { return start.Add(time.Duration(checks) * timing.MemoryCheck) }
	for name, test := range map[string]struct {
		uses []memoryUse
		want []bool
	}{
		"the first look knows no former one": {[]memoryUse{{7, 80 * mebibyte, 200 * mebibyte}}, []bool{false}},
		"at rest":                            {[]memoryUse{{7, 80 * mebibyte, 200 * mebibyte}, {7, 80 * mebibyte, 200 * mebibyte}}, []bool{false, true}},
		"garbage is collected": {[]memoryUse{
			{7, 80 * mebibyte, 200 * mebibyte}, {8, 80 * mebibyte, 200 * mebibyte}, {9, 80 * mebibyte, 200 * mebibyte},
		}, []bool{false, false, false}},
		"at rest after the burst": {[]memoryUse{
			{7, 80 * mebibyte, 200 * mebibyte}, {8, 80 * mebibyte, 200 * mebibyte}, {8, 80 * mebibyte, 200 * mebibyte},
		}, []bool{false, false, true}},
		"a quarter of a large program": {[]memoryUse{{7, 80 * mebibyte, 100 * mebibyte}, {7, 80 * mebibyte, 100 * mebibyte}}, []bool{false, true}},
		"less than that":               {[]memoryUse{{7, 80 * mebibyte, 99 * mebibyte}, {7, 80 * mebibyte, 99 * mebibyte}}, []bool{false, false}},
		"16 MiB of a small program":    {[]memoryUse{{7, 8 * mebibyte, 24 * mebibyte}, {7, 8 * mebibyte, 24 * mebibyte}}, []bool{false, true}},
		"less than 16 MiB":             {[]memoryUse{{7, 8 * mebibyte, 23 * mebibyte}, {7, 8 * mebibyte, 23 * mebibyte}}, []bool{false, false}},
		"a Go that tells nothing":      {[]memoryUse{{}, {}}, []bool{false, false}},
		"more in use than held":        {[]memoryUse{{7, 80 * mebibyte, 9}, {7, 80 * mebibyte, 9}}, []bool{false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			var memory idleMemory
			for i, use := range test.uses {
				NewWithT(t).Expect(memory.isDue(use, at(i))).To(Equal(test.want[i]), "look %d", i)
			}
		})
	}
}

// What cannot be returned is not tried again, and nothing is tried more than once a pause.
func TestReturnsOfMemoryAreBounded(t *testing.T) {
	g, now := NewWithT(t), time.Unix(1000, 0)
	memory := idleMemory{collections: 7}
	burst := memoryUse{7, 80 * mebibyte, 200 * mebibyte}
	g.Expect(memory.isDue(burst, now)).To(BeTrue())
	memory.noteReturn(memoryUse{8, 80 * mebibyte, 120 * mebibyte}, now) // 40 MiB of room between objects

	again := memoryUse{8, 80 * mebibyte, 200 * mebibyte}
	g.Expect(memory.isDue(again, now.Add(timing.MemoryReturnPause-1))).To(BeFalse(), "too soon")
	later := now.Add(timing.MemoryReturnPause)
	g.Expect(memory.isDue(memoryUse{8, 80 * mebibyte, 139 * mebibyte}, later)).To(BeFalse(), "mostly room between objects")
	g.Expect(memory.isDue(again, later)).To(BeTrue())
	memory.noteReturn(memoryUse{9, 80 * mebibyte, 120 * mebibyte}, later)
	g.Expect(memory.isDue(memoryUse{9, 30 * mebibyte, 120 * mebibyte}, later.Add(timing.MemoryReturnPause))).To(BeTrue(),
		"objects have gone since")
}

// The memory of a real burst is returned to the machine.
func TestGarbageGoesBackToTheMachine(t *testing.T) {
	g := NewWithT(t)
	released := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/released:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	var memory idleMemory
	memory.look(time.Now())
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
	g.Expect(look()).To(BeFalse(), "there is nothing more to return")
}

// The loop ends with the program, and does not begin if somebody else decides about memory.
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
