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
	tick     = 20 * time.Millisecond
	parallel = 4 // writes at a time
)

// Bounds of what a flood may make of the operator.
const (
	// maxNewSeries is for those at the port of the metrics that were not there before any
	// flood: fewer than a flood has objects or names, so that none of these is a label.
	maxNewSeries = 40
	// maxLogged is for what is logged during one flood, in bytes: less than a line for each
	// object, or for each write.
	maxLogged = 64 << 10
	// rewritten is how often small objects are written to at least.
	rewritten = 300
)

// flood is what somebody does.
type flood struct {
	name string
	// make are the objects that are made, and write what is then written to them over
	// and over.
	make  func(i int) client.Object
	count int
	write func(round, i int) string
	// writes is how often they are written to at least.
	writes int
	// as returns who does so, with no more rights than it takes.
	as func(i int) writer
	// instead is done over and over instead of both.
	instead func(p *process, i int)
}

// touch is the least that makes others read the whole object.
func touch(round, _ int) string {
	return fmt.Sprintf(`{"metadata":{"annotations":{"touched":"%d"}}}`, round)
}

// record writes a record that the operator cannot have written.
func record(size int) func(round, i int) string {
	return func(round, i int) string {
		return fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationRecord, forged(1000*i+round, size))
	}
}

// floods come one after the other, and what they have made stays.
var floods = []flood{
	{name: "NetworkPolicies of the operator's name, 1 MiB each", make: networkPolicy, count: hostile, write: touch, as: ofTenant("networking.k8s.io", "networkpolicies")},
	{name: "DaemonSets with large templates", make: daemonSet, count: hostile, write: touch, as: ofTenant("apps", "daemonsets")},
	{name: "Services with forged records", make: service, count: hostile, write: touch, as: ofTenant("", "services")},
	{name: "EndpointSlices full of addresses", make: endpointSlice, count: hostile, write: touch, as: ofTenant("discovery.k8s.io", "endpointslices")},
	{name: "Nodes full of labels and forged records", make: node, count: hostile, write: touch, as: kubelet},
	{name: "namespaces full of metadata", make: namespace, count: hostile, write: touch, as: ofCluster("", "namespaces")},
	{name: "pods in their node's network, full of metadata", make: pod, count: hostile, write: touch, as: ofTenant("", "pods")},
	{name: "a Service whose record names 2,000 policies", make: small, count: 1, write: record(150 << 10), writes: rewritten / 3, as: ofTenant("", "services")},
	{name: "20 Services with bad records", make: small, count: 20, write: record(1 << 10), writes: 2 * rewritten, as: ofTenant("", "services")},
	{name: "bad tokens at the port of the metrics", count: 200, writes: rewritten, instead: func(p *process, i int) {
		if response, done, err := p.ask(fmt.Sprint("bad-", i), fmt.Sprintf("127.0.1.%d", 1+i%200)); err == nil {
			defer done()
			if response.StatusCode == http.StatusOK {
				panic("a bad token reads the metrics")
			}
		}
	}},
}

// measured is what came of a flood.
type measured struct {
	mu     sync.Mutex
	peak   float64        // of the memory, in MiB
	depth  map[string]int // the most, by queue
	series int
	// logged is in bytes, took how long it lasted, and written how many times something
	// was written.
	logged  int64
	took    time.Duration
	written atomic.Int64
	// seen is how long the way out took to be seen.
	seen time.Duration
}

// TestFloods has one operator work on under each of the floods, and start again when all
// that they have made is there.
func TestFloods(t *testing.T) {
	g := in(t)
	prepareVictim(t, g)
	writers := map[string]client.Client{}
	p := start(t, g)
	t.Cleanup(func() { p.Stop() })
	ready(t, g, victim)
	ready(t, g, "other")

	var atRest metrics
	g.Eventually(func() (err error) { atRest, err = p.metrics(); return err }).Should(Succeed())
	table := []string{fmt.Sprintf("%-52s %5s  %-19s %6s %8s %9s  %s", "flood", "MiB", "queues (n s p)", "series", "log B/s", "log bytes", "way out seen after")}
	row := func(name string, m *measured) {
		depth := fmt.Sprintf("%d %d %d", m.depth["node"], m.depth["service"], m.depth["policy"])
		table = append(table, fmt.Sprintf("%-52s %5.0f  %-19s %6d %8.0f %9d  %.2f s (%d writes in %.0f s)", name, m.peak, depth, m.series,
			float64(m.logged)/m.took.Seconds(), m.logged, m.seen.Seconds(), m.written.Load(), m.took.Seconds()))
	}
	t.Cleanup(func() { t.Log("\n" + strings.Join(table, "\n")) })
	for i, f := range floods {
		t.Run(f.name, func(t *testing.T) {
			g := in(t)
			f.grant(t, g, writers)
			m := during(t, g, p, func(m *measured, over <-chan struct{}) { f.run(t, p, m, over, writers) }, func() { wayOut(t, g, i%2 == 0) }, f.count, f.writes)
			row(f.name, m)
			m.within(g, atRest.series)
			ready(t, g, victim)
		})
	}
	none := func(*measured, <-chan struct{}) {}
	t.Run("deletion of a policy, with all of it there", func(t *testing.T) {
		g := in(t)
		g.SetDefaultEventuallyTimeout(2 * deadline)
		m := during(t, g, p, none, func() { remove(t, g, "other") }, 0, 0)
		row("deletion of a policy, with all of it there", m)
		m.within(g, atRest.series)
	})
	t.Run("another start, with all of it there", func(t *testing.T) {
		g := in(t)
		p.Stop()
		p = start(t, g)
		m := during(t, g, p, none, func() { wayOut(t, g, true) }, 0, 0)
		row("another start, with all of it there", m)
		m.within(g, atRest.series)
		ready(t, g, victim)
	})
}

// in returns what expects in a test.
func in(t *testing.T) *WithT {
	t.Helper()
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(deadline)
	g.SetDefaultEventuallyPollingInterval(tick)
	return g
}

// within expects what came of a flood to be bounded.
func (m *measured) within(g *WithT, atRest int) {
	g.Expect(m.peak).To(BeNumerically("<", float64(limit())/(1<<20)), "memory")
	g.Expect(m.series).To(BeNumerically("<", atRest+maxNewSeries), "series")
	g.Expect(m.logged).To(BeNumerically("<", maxLogged), "bytes logged")
	g.Expect(m.depth["policy"]).To(BeNumerically("<=", 2), "only policies that exist wait")
	// Each object waits once: those of all floods, and the few others.
	g.Expect(m.depth["node"]).To(BeNumerically("<=", hostile+6), "nodes")
	g.Expect(m.depth["service"]).To(BeNumerically("<=", hostile+25), "Services")
}

// run makes the objects and then writes to them until it is over.
func (f flood) run(t *testing.T, p *process, m *measured, over <-chan struct{}, writers map[string]client.Client) {
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
			// Of the answer nothing is kept: it is large.
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

// during measures while a flood lasts, until what is done meanwhile is done, what is written
// is written, and all queues are empty.
func during(t *testing.T, g *WithT, p *process, flood func(*measured, <-chan struct{}), meanwhile func(), count, writes int) *measured {
	t.Helper()
	m := &measured{depth: map[string]int{}}
	g.Expect(p.forgetPeak()).To(Succeed())
	before, begun := p.logged(), time.Now()
	over, measuredAll := make(chan struct{}), make(chan struct{})
	var floods, measures sync.WaitGroup
	end := sync.OnceFunc(func() { close(over); floods.Wait() })
	defer end() // also where the test ends here
	floods.Go(func() { flood(m, over) })
	measures.Go(func() { m.watch(p, measuredAll) })
	g.Eventually(m.written.Load).Should(BeNumerically(">=", count), "the flood has begun")
	started := time.Now()
	meanwhile()
	m.seen = time.Since(started)
	g.Eventually(m.written.Load).WithTimeout(4*deadline).Should(BeNumerically(">=", count+writes), "the flood has lasted")
	end()
	m.took = time.Since(begun)
	g.Expect(p.Died()).To(Succeed())
	g.Eventually(func() (int, error) {
		now, err := p.metrics()
		return now.waiting(), err
	}).Should(BeZero(), "all that waits is done")
	close(measuredAll)
	measures.Wait()
	m.logged = p.logged() - before
	var err error
	m.peak, err = p.memory("VmHWM")
	g.Expect(err).NotTo(HaveOccurred())
	return m
}

// watch reads the metrics over and over.
func (m *measured) watch(p *process, over <-chan struct{}) {
	beat := time.NewTicker(50 * time.Millisecond)
	defer beat.Stop()
	for {
		select {
		case <-over:
			return
		case <-beat.C:
		}
		now, err := p.metrics()
		if err != nil {
			continue // where tokens are not looked at, because there are too many
		}
		m.mu.Lock()
		m.series = max(m.series, now.series)
		for name, depth := range now.depth {
			m.depth[name] = max(m.depth[name], depth)
		}
		m.mu.Unlock()
	}
}
