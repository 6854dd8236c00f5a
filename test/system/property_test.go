// SPDX-License-Identifier: Apache-2.0

package system

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
)

var (
	seed      = flag.Uint64("seed", 1, "seed of the random sequences; 0 takes a new one, which is printed")
	sequences = flag.Int("sequences", 120, "how many random sequences")
)

// After any changes, in any order, the cluster ends as if the last specs had just been
// applied to a cluster in the same state, and then nothing more is written.
//
// The sequences run side by side, each in its own corner of the cluster, and one operator
// is stopped, killed and started meanwhile. Then each corner gets a twin: the same nodes,
// Services and namespaces, with the foreign writes and without the operator's writes, and
// the same policies. The operator's writes on the twin must equal the operator's writes on
// the corner:
//
//   - NetworkPolicies, except for the hash, which includes the policy's name;
//   - taints and traffic policies, and whether the operator owns the latter;
//   - the policies' finalizers and status, except for times and for the last
//     repair: the twin has no past.
//
// The recorded originals may differ: in the corner the originals are the values at the
// first claim of a field, in the twin the values at the end. So where the operator has
// released a field in the corner, the value must be any foreign value of this field. This
// is checked separately.
func TestEverySequenceEndsAsDeclared(t *testing.T) {
	const together = 40 // corners at once
	s, wall := beginStory(t), &wallClock{}
	s.clock = wall
	s.SetDefaultEventuallyTimeout(patience)
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed=%d -sequences=%d", *seed, *sequences)
	for first := 0; first < *sequences && !t.Failed(); first += together {
		b := &batch{story: s, wall: wall, random: rand.New(rand.NewPCG(*seed, uint64(first)))}
		for i := first; i < min(first+together, *sequences); i++ {
			b.corners = append(b.corners, newCorner(s.admin, i, rand.New(rand.NewPCG(*seed, uint64(1_000_000+i)))))
		}
		b.runSequences()
	}
}

// batch is a number of corners with one operator.
type batch struct {
	*story
	wall    *wallClock
	random  *rand.Rand
	corners []*corner

	line *line
	log  journal
	stop func() // nil while no operator runs
}

const (
	rounds   = 12
	writers  = 8            // concurrent requests
	patience = 4 * deadline // long, because so many corners change at once
)

func (b *batch) runSequences() {
	b.t.Helper()
	begun := time.Now()
	b.forEachCorner(func(c *corner) error { return c.createCorner(b.ctx) })
	b.startIfStopped()
	for range rounds {
		b.maybeInterrupt()
		b.forEachCorner(func(c *corner) error { return c.takeStep(b.ctx) })
	}
	b.startIfStopped()
	b.forEachCorner(func(c *corner) error { return c.endSequence(b.ctx) })
	b.waitUntilQuiet()
	b.outlastContests()
	made := time.Since(begun)
	b.compareWithTwins()
	b.restartChangesNothing()
	b.crashOperator()
	b.cleanUp()
	b.t.Logf("%d sequences in %s, compared after %s", len(b.corners), made.Round(time.Second), time.Since(begun).Round(time.Second))
}

// waitUntilQuiet waits longer than in other stories: with so many corners at once, on a
// machine with other tests, an event may take seconds to reach the operator.
func (b *batch) waitUntilQuiet() {
	b.t.Helper()
	b.waitUntilQuietFor(3 * reportTime)
}

// outlastContests sets the clock ahead until no contest is reported any more, because the
// twin has had no contest.
func (b *batch) outlastContests() {
	b.t.Helper()
	b.wall.leapBy(4 * time.Hour)
	passing := b.joinNode("10.77.0.99") // makes the operator look at every policy
	b.waitUntilQuiet()
	b.Expect(b.admin.Delete(b.ctx, b.getNode(passing))).To(Succeed())
	b.waitUntilQuiet()
}

// maybeInterrupt starts, stops or kills the operator, or does nothing.
func (b *batch) maybeInterrupt() {
	switch n := b.random.IntN(12); {
	case b.stop == nil && n < 8:
		b.startIfStopped()
	case b.stop != nil && n == 8:
		b.stop()
		b.stop = nil
	case b.stop != nil && n == 9:
		b.crashOperator()
	case b.stop != nil && n == 10:
		b.crashOperator()
		b.startIfStopped()
	}
}

func (b *batch) startIfStopped() {
	b.t.Helper()
	if b.stop == nil {
		b.line = &line{conns: map[net.Conn]bool{}}
		b.stop = b.startOperatorAs(b.line.lineConfig(b.rights), func(o *ctrl.Options) { o.Logger = b.log.newLogger() })
	}
}

// crashOperator ends the operator in the middle of any work: answers to open requests are
// lost.
func (b *batch) crashOperator() {
	b.t.Helper()
	if b.stop != nil {
		// A manager that is stopped during its first reading of the cluster does not end
		// (controller-runtime, runnableGroup.Start).
		b.Eventually(b.running, patience).Should(BeClosed())
		b.line.cutConnections()
		b.stop()
		b.stop = nil
	}
}

// forEachCorner calls a function for every corner, with several calls at once.
func (b *batch) forEachCorner(do func(*corner) error) {
	b.t.Helper()
	next := make(chan *corner)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for c := range next {
				if err := do(c); err != nil {
					b.t.Errorf("sequence %d: %v\n%s\nThe operator's log of it:\n%s", c.number, err, c, strings.Join(b.log.linesWith(c.name), "\n"))
				}
			}
		})
	}
	for _, c := range b.corners {
		next <- c
	}
	close(next)
	group.Wait()
	if b.t.Failed() {
		b.t.FailNow()
	}
}

// compareWithTwins creates the twins, and compares the operator's writes on corners and
// twins.
func (b *batch) compareWithTwins() {
	b.t.Helper()
	b.forEachCorner(func(c *corner) error { return c.makeTwin(b.ctx) })
	b.forEachCorner(func(c *corner) error { return c.createPolicies(b.ctx, true) })
	b.nextSecond() // the age of policies counts in seconds
	b.forEachCorner(func(c *corner) error { return c.createPolicies(b.ctx, false) })
	b.waitUntilQuiet()
	// On a machine with other tests, events may take longer to reach the operator.
	b.forEachCorner(func(c *corner) (differs error) {
		_ = wait.PollUntilContextTimeout(b.ctx, 4*tick, deadline, true, func(ctx context.Context) (bool, error) {
			differs = c.compareWithTwin(ctx)
			return differs == nil, nil
		})
		return differs
	})
}

func (b *batch) nextSecond() {
	b.t.Helper()
	now := time.Now().Unix()
	b.Eventually(func() int64 { return time.Now().Unix() }).Should(BeNumerically(">", now))
}

// restartChangesNothing expects that a restarted operator writes and reports nothing.
func (b *batch) restartChangesNothing() {
	b.t.Helper()
	b.crashOperator()
	mark, before := b.markAuditLog(), b.listStatuses()
	b.startIfStopped()
	b.waitUntilQuietFor(reportTime)
	asked := b.requestsSince(mark)
	b.Expect(append(append(asked.Repairs, asked.Status...), asked.Events...)).To(BeEmpty(), func() string {
		return asked.String() + cmp.Diff(before, b.listStatuses())
	})
}

// listStatuses returns the status of every policy, by name.
func (b *batch) listStatuses() map[string]v1alpha1.ControlPlaneNetworkPolicyStatus {
	b.t.Helper()
	var list v1alpha1.ControlPlaneNetworkPolicyList
	b.Expect(b.admin.List(b.ctx, &list)).To(Succeed())
	statuses := map[string]v1alpha1.ControlPlaneNetworkPolicyStatus{}
	for i := range list.Items {
		statuses[list.Items[i].Name] = list.Items[i].Status
	}
	return statuses
}

// line is an operator's connection to the API server, which can be cut.
type line struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
	dead  bool
}

func (l *line) lineConfig(rights *rest.Config) *rest.Config {
	config := options.UnthrottledConfig(rights)
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.dead {
			_ = conn.Close()
			return nil, net.ErrClosed
		}
		l.conns[conn] = true
		return conn, nil
	}
	return config
}

func (l *line) cutConnections() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	for conn := range l.conns {
		_ = conn.Close()
	}
}

// withCommonName returns a value as JSON, with the same name for corner and twin.
func withCommonName(value any, name string) string {
	out, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(err)
	}
	return strings.ReplaceAll(string(out), name, "corner")
}
