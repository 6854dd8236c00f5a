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

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cpnp-dev/cpnp-operator/internal/options"
)

var (
	seed      = flag.Uint64("seed", 1, "seed of the random sequences; 0 takes a new one, which is printed")
	sequences = flag.Int("sequences", 120, "how many random sequences")
)

// Whatever happens, and in whatever order, the cluster ends as if the last specs
// had just been applied to a cluster in the same state, and then nothing more is
// written.
//
// The sequences happen side by side, each in a corner of the cluster of its own,
// and one operator is stopped, killed and started meanwhile. Then each corner
// gets a twin: the same nodes, Services and namespaces, with what others wrote
// on them and without what the operator did, and the same policies. What the
// operator makes of the twin must equal what it made of the corner:
//
//   - NetworkPolicies, but for the hash, which is over the policy's name too;
//   - taints and traffic policies, and whether the operator owns the latter;
//   - the policies' finalizers and status, but for times and for what was
//     repaired last: the twin has no past.
//
// The recorded originals may differ: in the corner they are what was there when
// the field was first taken, in the twin what others had written at the end. So
// where the operator has let go of a field in the corner, its value must be one
// that somebody else had given it there, whichever. That is checked beside.
func TestEverySequenceEndsAsDeclared(t *testing.T) {
	const together = 40 // corners at once
	s, wall := begin(t), &wallClock{}
	s.clock = wall
	s.SetDefaultEventuallyTimeout(patience)
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed=%d -sequences=%d", *seed, *sequences)
	for first := 0; first < *sequences && !t.Failed(); first += together {
		b := &batch{story: s, wall: wall, random: rand.New(rand.NewPCG(*seed, uint64(first)))}
		for i := first; i < min(first+together, *sequences); i++ {
			b.corners = append(b.corners, newCorner(i, rand.New(rand.NewPCG(*seed, uint64(1_000_000+i)))))
		}
		b.run()
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
	stop func() // nil: no operator runs
}

const (
	rounds   = 12
	writers  = 8            // requests at once
	patience = 4 * deadline // with so much at once
)

func (b *batch) run() {
	b.t.Helper()
	begun := time.Now()
	b.each(func(c *corner) error { return c.begin(b.ctx) })
	b.start()
	for range rounds {
		b.interrupt()
		b.each(func(c *corner) error { return c.step(b.ctx) })
	}
	b.start()
	b.each(func(c *corner) error { return c.end(b.ctx) })
	b.quiet()
	b.outlastFights()
	made := time.Since(begun)
	b.compareWithTwins()
	b.restartChangesNothing()
	b.crash()
	b.clean()
	b.t.Logf("%d sequences in %s, compared after %s", len(b.corners), made.Round(time.Second), time.Since(begun).Round(time.Second))
}

// quiet waits longer than other stories: with so many corners at once, on a machine with
// other tests, an event may be on its way to the operator for seconds.
func (b *batch) quiet() {
	b.t.Helper()
	b.quietFor(3 * reportTime)
}

// outlastFights lets so much time pass that no fight is told any more: the twin has
// had none.
func (b *batch) outlastFights() {
	b.t.Helper()
	b.wall.leap(4 * time.Hour)
	passing := b.join("10.77.0.99") // has every policy looked at
	b.quiet()
	b.Expect(admin.Delete(b.ctx, b.node(passing))).To(Succeed())
	b.quiet()
}

// interrupt starts, stops or kills the operator, or does not.
func (b *batch) interrupt() {
	switch n := b.random.IntN(12); {
	case b.stop == nil && n < 8:
		b.start()
	case b.stop != nil && n == 8:
		b.stop()
		b.stop = nil
	case b.stop != nil && n == 9:
		b.crash()
	case b.stop != nil && n == 10:
		b.crash()
		b.start()
	}
}

func (b *batch) start() {
	b.t.Helper()
	if b.stop == nil {
		b.line = &line{conns: map[net.Conn]bool{}}
		b.stop = b.operatorAs(b.line.config(), func(o *ctrl.Options) { o.Logger = b.log.logger() })
	}
}

// crash ends the operator in the middle of whatever it does: the answers to what
// it has asked for are lost.
func (b *batch) crash() {
	b.t.Helper()
	if b.stop != nil {
		// A manager that is stopped while it can not read the cluster for the
		// first time does not end (controller-runtime, runnableGroup.Start).
		b.Eventually(b.running, patience).Should(BeClosed())
		b.line.cut()
		b.stop()
		b.stop = nil
	}
}

// each does something with every corner, several at once.
func (b *batch) each(do func(*corner) error) {
	b.t.Helper()
	next := make(chan *corner)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for c := range next {
				if err := do(c); err != nil {
					b.t.Errorf("sequence %d: %v\n%s\nThe operator's log of it:\n%s", c.number, err, c, strings.Join(b.log.with(c.name), "\n"))
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

// compareWithTwins makes the twins and compares what the operator made of both.
func (b *batch) compareWithTwins() {
	b.t.Helper()
	b.each(func(c *corner) error { return c.makeTwin(b.ctx) })
	b.each(func(c *corner) error { return c.createPolicies(b.ctx, true) })
	b.nextSecond() // the age of policies is in seconds
	b.each(func(c *corner) error { return c.createPolicies(b.ctx, false) })
	b.quiet()
	// A machine with other tests may keep an event from the operator for longer.
	b.each(func(c *corner) (differs error) {
		_ = wait.PollUntilContextTimeout(b.ctx, 10*tick, deadline, true, func(ctx context.Context) (bool, error) {
			differs = c.differs(ctx)
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

// restartChangesNothing: an operator that has just started finds nothing to do,
// nor to say.
func (b *batch) restartChangesNothing() {
	b.t.Helper()
	b.crash()
	mark := b.mark()
	b.start()
	b.quietFor(reportTime)
	asked := b.requestsSince(mark)
	b.Expect(append(append(asked.Repairs, asked.Status...), asked.Events...)).To(BeEmpty(), asked.String)
}

// line is an operator's connection to the API server, which can be cut.
type line struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
	dead  bool
}

func (l *line) config() *rest.Config {
	config := options.UnthrottledConfig(operatorConfig)
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

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	for conn := range l.conns {
		_ = conn.Close()
	}
}

// named returns a value as JSON, in which corner and twin have the same name.
func named(value any, name string) string {
	out, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(err)
	}
	return strings.ReplaceAll(string(out), name, "corner")
}
