// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	. "github.com/onsi/gomega"
)

var (
	full  = flag.Bool("full", false, "let every kind be stale by itself, in every way, in every scenario: about half an hour")
	cells = flag.String("cells", "", "run only the cells whose names match this regular expression")
)

// cell is one scenario in which some kinds are stale in one way.
type cell struct {
	scenario scenario
	kinds    []string
	fault    fault
}

func (c cell) String() string {
	return strings.ReplaceAll(fmt.Sprintf("%s, %s %s", c.scenario.name, strings.Join(c.kinds, "+"), c.fault.name), " ", "_")
}

// everyCell returns all cells in which a single kind is stale.
func everyCell() []cell {
	var all []cell
	for _, scenario := range scenarios {
		for _, kind := range slices.Concat(moving, still) {
			for _, fault := range faults {
				all = append(all, cell{scenario, []string{kind}, fault})
			}
		}
	}
	return all
}

// someCells returns cells in which every kind is stale in every scenario, in
// pairs, and every fault occurs in every scenario. The still kinds are stale all
// together. Combinations that have failed before are included whatever the seed.
func someCells(random *rand.Rand) []cell {
	var some []cell
	for _, scenario := range scenarios {
		kinds := slices.Clone(moving)
		random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		batches := append(slices.Collect(slices.Chunk(kinds, 2)), still)
		first := random.IntN(len(faults))
		for i, batch := range batches {
			some = append(some, cell{scenario, batch, faults[(first+i)%len(faults)]})
		}
	}
	for _, scenario := range scenarios {
		for _, kind := range scenario.frozen {
			some = append(some, cell{scenario, []string{kind}, faults[0]})
		}
	}
	return some
}

// Whichever kind is stale, in whichever way, in whichever scenario: the
// cluster never gets into a wrong state, and the outcome is right.
func TestEveryKindIsStaleInEveryScenario(t *testing.T) {
	t.Parallel()
	together := max(1, *clusters-1) // the other tests need one
	random := rand.New(rand.NewPCG(*seed, 0))
	planned := someCells(random)
	if *full {
		planned = everyCell()
	}
	random.Shuffle(len(planned), func(i, j int) { planned[i], planned[j] = planned[j], planned[i] })
	only := regexp.MustCompile(*cells)
	planned = slices.DeleteFunc(planned, func(c cell) bool { return !only.MatchString(c.String()) })
	t.Logf("-stale-seed=%d -full=%t -clusters=%d", *seed, *full, *clusters)

	var ran, idle atomic.Int64
	var telling sync.WaitGroup
	for i := range together {
		var part []cell
		for n := i; n < len(planned); n += together {
			part = append(part, planned[n])
		}
		telling.Go(func() {
			for n := 0; len(part) > 0; n++ {
				t.Run(fmt.Sprintf("story-%d-%d", i, n), func(t *testing.T) {
					part = begin(t).runCells(part, &ran, &idle)
				})
			}
		})
	}
	telling.Wait()
	t.Logf("%d of %d cells ran; in %d of them the proxy had nothing to hold back", ran.Load(), len(planned), idle.Load())
}

// most is how many cells one story runs.
const most = 40

// runCells runs the cells one after the other until one of them fails, and returns the rest.
func (s *story) runCells(part []cell, ran, idle *atomic.Int64) (left []cell) {
	s.furnish()
	s.start()
	for i, c := range part[:min(len(part), most)] {
		ran.Add(1)
		right := s.t.Run(c.String(), func(t *testing.T) {
			defer s.in(t)()
			if s.runCell(c) {
				idle.Add(1)
			}
		})
		if !right {
			return part[i+1:]
		}
	}
	return part[min(len(part), most):]
}

// runCell runs one cell. It returns whether the proxy had nothing to hold back.
func (s *story) runCell(c cell) (idle bool) {
	s.t.Helper()
	random := rand.New(rand.NewPCG(*seed, uint64(len(c.String()))))
	before := c.scenario.before
	if before == nil {
		before = (*story).rest
	}
	before(s)
	held := s.held(c.kinds)
	defer s.proxy.Thaw()
	c.fault.shown(s, random, c.kinds, func(s *story) {
		c.scenario.happens(s)
		s.touch(c.kinds)
	})
	s.proxy.Thaw()
	idle = s.held(c.kinds) == held
	c.scenario.ends(s)
	if c.scenario.after != nil {
		c.scenario.after(s)
	}
	s.expectSound()
	s.Expect(s.running.Ended()).NotTo(BeClosed())
	return idle
}

func (s *story) held(kinds []string) (times int) {
	for _, kind := range kinds {
		times += s.proxy.Held(kind)
	}
	return times
}
