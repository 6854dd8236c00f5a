// SPDX-License-Identifier: Apache-2.0

package flood

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

const (
	deadline = 60 * time.Second
	tick     = 50 * time.Millisecond
	parallel = 4 // concurrent writes
)

// Limits of the effects of a flood on the operator.
const (
	// maxNewSeries limits the series at the metrics port that did not exist before any
	// flood: a flood has more objects and more names, so neither can be a label.
	maxNewSeries = 40
	// maxLogged limits the bytes logged during one flood: less than a line for each object,
	// or for each write.
	maxLogged = 64 << 10
	// rewritten is the minimum number of writes to small objects.
	rewritten = 300
)

// flood is an attack on the operator by other users.
type flood struct {
	name string
	// make returns the objects to create, and write the patches to apply to these objects
	// over and over.
	make  func(i int) client.Object
	count int
	write func(round, i int) string
	// writes is the minimum number of patches.
	writes int
	// as returns the writer of an object, with no more rights than needed.
	as func(i int) writer
	// instead, where set, is done over and over, and no object is written.
	instead func(p *process, i int)
}

// touchPatch is the smallest patch that makes watchers read the whole object.
func touchPatch(round, _ int) string {
	return fmt.Sprintf(`{"metadata":{"annotations":{"touched":"%d"}}}`, round)
}

// recordPatch returns patches with records that the operator cannot have written.
func recordPatch(size int) func(round, i int) string {
	return func(round, i int) string {
		return fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationRecord, forgedRecord(1000*i+round, size))
	}
}

// floods run one after the other, and the created objects stay.
var floods = []flood{
	{name: "NetworkPolicies of the operator's name, 1 MiB each", make: networkPolicy, count: hostile, write: touchPatch, as: ofTenant("networking.k8s.io", "networkpolicies")},
	{name: "DaemonSets with large templates", make: daemonSet, count: hostile, write: touchPatch, as: ofTenant("apps", "daemonsets")},
	{name: "Services with forged records", make: service, count: hostile, write: touchPatch, as: ofTenant("", "services")},
	{name: "EndpointSlices full of addresses", make: endpointSlice, count: hostile, write: touchPatch, as: ofTenant("discovery.k8s.io", "endpointslices")},
	{name: "Nodes full of labels and forged records", make: node, count: hostile, write: touchPatch, as: kubelet},
	{name: "namespaces full of metadata", make: namespace, count: hostile, write: touchPatch, as: ofCluster("", "namespaces")},
	{name: "pods in their node's network, full of metadata", make: pod, count: hostile, write: touchPatch, as: ofTenant("", "pods")},
	{name: "a Service whose record names 2,000 policies", make: smallService, count: 1, write: recordPatch(150 << 10), writes: rewritten / 3, as: ofTenant("", "services")},
	{name: "20 Services with bad records", make: smallService, count: 20, write: recordPatch(1 << 10), writes: 2 * rewritten, as: ofTenant("", "services")},
	{name: "bad tokens at the port of the metrics", count: 200, writes: rewritten, instead: func(p *process, i int) {
		if response, done, err := p.requestMetrics(fmt.Sprint("bad-", i), fmt.Sprintf("127.0.1.%d", 1+i%200)); err == nil {
			defer done()
			if response.StatusCode == http.StatusOK {
				panic("a bad token reads the metrics")
			}
		}
	}},
}

// measured is the effect of a flood.
type measured struct {
	mu     sync.Mutex
	peak   float64        // of the memory, in MiB
	depth  map[string]int // the highest depth of each queue
	series int
	// logged is in bytes, took is the duration, and written is the number of writes.
	logged  int64
	took    time.Duration
	written atomic.Int64
	// seen is how long the operator took to report the way out.
	seen time.Duration
}

// TestFloods runs one operator under each of the floods, and restarts the operator when the
// objects of all floods exist.
func TestFloods(t *testing.T) {
	g := newExpectations(t)
	prepareVictim(t, g)
	writers := map[string]client.Client{}
	p := startOperator(t, g)
	t.Cleanup(func() { p.Stop() })
	waitUntilReady(t, g, victim)
	waitUntilReady(t, g, "other")

	var atRest metrics
	g.Eventually(func() (err error) { atRest, err = p.readMetrics(); return err }).Should(Succeed())
	table := []string{fmt.Sprintf("%-52s %5s  %-19s %6s %8s %9s  %s", "flood", "MiB", "queues (n s p)", "series", "log B/s", "log bytes", "way out seen after")}
	row := func(name string, m *measured) {
		depth := fmt.Sprintf("%d %d %d", m.depth["node"], m.depth["service"], m.depth["policy"])
		table = append(table, fmt.Sprintf("%-52s %5.0f  %-19s %6d %8.0f %9d  %.2f s (%d writes in %.0f s)", name, m.peak, depth, m.series,
			float64(m.logged)/m.took.Seconds(), m.logged, m.seen.Seconds(), m.written.Load(), m.took.Seconds()))
	}
	t.Cleanup(func() { t.Log("\n" + strings.Join(table, "\n")) })
	for i, f := range floods {
		t.Run(f.name, func(t *testing.T) {
			g := newExpectations(t)
			f.grantWriters(t, g, writers)
			m := measureDuring(t, g, p, func(m *measured, over <-chan struct{}) { f.runUntil(t, p, m, over, writers) }, func() { useWayOut(t, g, i%2 == 0) }, f.count, f.writes)
			row(f.name, m)
			m.expectBounded(g, atRest.series)
			waitUntilReady(t, g, victim)
		})
	}
	none := func(*measured, <-chan struct{}) {}
	t.Run("deletion of a policy, with all of it there", func(t *testing.T) {
		g := newExpectations(t)
		g.SetDefaultEventuallyTimeout(2 * deadline)
		m := measureDuring(t, g, p, none, func() { removePolicy(t, g, "other") }, 0, 0)
		row("deletion of a policy, with all of it there", m)
		m.expectBounded(g, atRest.series)
	})
	t.Run("another start, with all of it there", func(t *testing.T) {
		g := newExpectations(t)
		p.Stop()
		p = startOperator(t, g)
		m := measureDuring(t, g, p, none, func() { useWayOut(t, g, true) }, 0, 0)
		row("another start, with all of it there", m)
		m.expectBounded(g, atRest.series)
		waitUntilReady(t, g, victim)
	})
}

// newExpectations returns the expectations of a test, with the time limits of this package.
func newExpectations(t *testing.T) *WithT {
	t.Helper()
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(deadline)
	g.SetDefaultEventuallyPollingInterval(tick)
	return g
}

// expectBounded expects the effect of a flood to be bounded.
func (m *measured) expectBounded(g *WithT, atRest int) {
	g.Expect(m.peak).To(BeNumerically("<", float64(memoryLimit())/(1<<20)), "memory")
	g.Expect(m.series).To(BeNumerically("<", atRest+maxNewSeries), "series")
	g.Expect(m.logged).To(BeNumerically("<", maxLogged), "bytes logged")
	g.Expect(m.depth["policy"]).To(BeNumerically("<=", 2), "only existing policies wait")
	// Each object waits once: the objects of all floods, and a few others.
	g.Expect(m.depth["node"]).To(BeNumerically("<=", hostile+6), "nodes")
	g.Expect(m.depth["service"]).To(BeNumerically("<=", hostile+25), "Services")
}

// runUntil creates the objects, and then patches all objects until over is closed.
func (f flood) runUntil(t *testing.T, p *process, m *measured, over <-chan struct{}, writers map[string]client.Client) {
	ended := func() bool {
		select {
		case <-over:
			return true
		default:
			return false
		}
	}
	if f.instead != nil {
		for !ended() {
			workqueue.ParallelizeUntil(context.Background(), parallel, parallel, func(int) { f.instead(p, int(m.written.Add(1))) })
		}
		return
	}
	objects := make([]client.Object, f.count)
	workqueue.ParallelizeUntil(context.Background(), parallel, f.count, func(i int) {
		objects[i] = f.make(i)
		if err := client.IgnoreAlreadyExists(writers[f.as(i).name].Create(context.Background(), objects[i])); err != nil {
			t.Error(err)
		}
		m.written.Add(1)
	})
	for round := 0; !ended(); round++ {
		workqueue.ParallelizeUntil(context.Background(), min(parallel, f.count), f.count, func(i int) {
			if ended() {
				return
			}
			// The answer is large, and not needed.
			target := &metav1.PartialObjectMetadata{}
			gvk, err := admin.GroupVersionKindFor(objects[i])
			if err != nil {
				t.Error(err)
				return
			}
			target.SetGroupVersionKind(gvk)
			target.SetNamespace(objects[i].GetNamespace())
			target.SetName(objects[i].GetName())
			patch := client.RawPatch(types.MergePatchType, []byte(f.write(round, i)))
			if err := writers[f.as(i).name].Patch(context.Background(), target, patch); err != nil {
				t.Error(err)
			}
			m.written.Add(1)
		})
	}
}

// measureDuring measures the operator while a flood lasts: until meanwhile has returned,
// the wanted number of writes is made, and all queues are empty.
func measureDuring(t *testing.T, g *WithT, p *process, flood func(*measured, <-chan struct{}), meanwhile func(), count, writes int) *measured {
	t.Helper()
	m := &measured{depth: map[string]int{}}
	g.Expect(p.forgetPeak()).To(Succeed())
	before, begun := p.loggedBytes(), time.Now()
	over, measuredAll := make(chan struct{}), make(chan struct{})
	var floods, measures sync.WaitGroup
	end := sync.OnceFunc(func() { close(over); floods.Wait() })
	defer end() // the test may also end here
	floods.Go(func() { flood(m, over) })
	measures.Go(func() { m.watchMetrics(p, measuredAll) })
	g.Eventually(m.written.Load).Should(BeNumerically(">=", count), "the flood has begun")
	started := time.Now()
	meanwhile()
	m.seen = time.Since(started)
	g.Eventually(m.written.Load).WithTimeout(4*deadline).Should(BeNumerically(">=", count+writes), "the flood has lasted")
	end()
	m.took = time.Since(begun)
	g.Expect(p.Died()).To(Succeed())
	g.Eventually(func() (int, error) {
		now, err := p.readMetrics()
		return now.totalDepth(), err
	}).Should(BeZero(), "all that waits is done")
	close(measuredAll)
	measures.Wait()
	m.logged = p.loggedBytes() - before
	var err error
	m.peak, err = p.memoryOf("VmHWM")
	g.Expect(err).NotTo(HaveOccurred())
	return m
}

// watchMetrics reads the metrics over and over.
func (m *measured) watchMetrics(p *process, over <-chan struct{}) {
	beat := time.NewTicker(50 * time.Millisecond)
	defer beat.Stop()
	for {
		select {
		case <-over:
			return
		case <-beat.C:
		}
		now, err := p.readMetrics()
		if err != nil {
			continue // the metrics port refuses requests while there are too many tokens
		}
		m.mu.Lock()
		m.series = max(m.series, now.series)
		for name, depth := range now.depth {
			m.depth[name] = max(m.depth[name], depth)
		}
		m.mu.Unlock()
	}
}
