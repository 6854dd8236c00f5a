// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// At most one node in ten, but at least one, gets an evicting taint at a time.
// The others wait until the evicted pods had time to run elsewhere.
func TestEvictingTaintsAreSetOnFewNodesAtATime(t *testing.T) {
	for nodes, share := range map[int]int{1: 1, 3: 1, 10: 1, 19: 1, 20: 2, 5000: 500} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			g, e := NewWithT(t), &Evictions{}
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			started := func() (names []string) {
				for i := range nodes {
					if name := fmt.Sprintf("n-%d", i); e.Wait(name, nodes, time.Minute, now) == 0 {
						names = append(names, name)
					}
				}
				return names
			}
			first := started()
			g.Expect(first).To(HaveLen(share))
			now = now.Add(20 * time.Second)
			g.Expect(started()).To(Equal(first), "a node that was chosen stays chosen")
			if nodes > share {
				g.Expect(e.Wait("n-"+fmt.Sprint(nodes-1), nodes, time.Minute, now)).To(Equal(40 * time.Second))
			}
			now = now.Add(40 * time.Second)
			g.Expect(started()).To(HaveLen(share))
		})
	}
}
