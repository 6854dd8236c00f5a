// SPDX-License-Identifier: Apache-2.0

package system

import (
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// When Argo CD v3 heals an object that differs from git: first after healFirst, and
// then after waits that triple each time, up to healLast. A commit resets the waits.
const (
	healFirst = 2 * time.Second
	healLast  = 5 * time.Minute
	// answerTime is the real time in which the operator has answered a write: a contested
	// field is written at most once a second.
	answerTime = 1200 * time.Millisecond
)

// application is an Application of Argo CD with automated sync and self-heal, over minutes
// of simulated time: while nothing happens, the wall clock of the story is set ahead.
type application struct {
	argo
	wall *leapingClock
	// ignored is the field manager whose fields are left alone, with
	// ignoreDifferences.managedFieldsManagers and RespectIgnoreDifferences=true. Empty for
	// none.
	ignored string
	commits int
}

// playMinutes makes a commit in each minute, and another as soon as the operator has answered,
// and heals the object in between.
func (a *application) playMinutes(minutes int) {
	a.t.Helper()
	for range minutes {
		next := a.wall.Now().Add(time.Minute)
		a.commitNow()
		fights := a.becomesOutOfSync()
		if fights {
			a.commitNow()
		}
		for wait := healFirst; fights && a.becomesOutOfSync() && a.wall.Now().Add(wait).Before(next); wait = min(3*wait, healLast) {
			a.wall.leapBy(wait)
			a.syncNow()
		}
		a.wall.leapBy(max(0, next.Sub(a.wall.Now())))
	}
}

// commitNow changes a label in git, and writes what git declares.
func (a *application) commitNow() {
	a.t.Helper()
	a.commits++
	labels := a.git.GetLabels()
	labels["revision"] = strconv.Itoa(a.commits)
	a.git.SetLabels(labels)
	a.syncNow()
}

// syncNow writes what git declares, without ignored fields.
func (a *application) syncNow() {
	a.t.Helper()
	a.Eventually(func() error {
		declared, err := a.withoutIgnored()
		if err != nil {
			return err
		}
		return declared.syncOnce(a.ctx)
	}).Should(Succeed())
}

// becomesOutOfSync tells whether the object differs from git within the time that the
// operator needs for an answer.
func (a *application) becomesOutOfSync() bool {
	for since := time.Now(); time.Since(since) < answerTime; waitFor(a.ctx, tick) {
		declared, err := a.withoutIgnored()
		a.Expect(err).NotTo(HaveOccurred())
		live, err := a.getLive(a.ctx)
		a.Expect(err).NotTo(HaveOccurred())
		if declared.outOfSync(live) {
			return true
		}
	}
	return false
}

// withoutIgnored returns the writer without the fields in git that the ignored manager has.
func (a *application) withoutIgnored() (argo, error) {
	declared := a.argo
	if a.ignored == "" {
		return declared, nil
	}
	live, err := a.getLive(a.ctx)
	if err != nil {
		return declared, client.IgnoreNotFound(err) // there is nothing to ignore before the first write
	}
	declared.git = a.git.DeepCopy()
	for _, entry := range live.GetManagedFields() {
		if entry.Manager != a.ignored || entry.FieldsV1 == nil {
			continue
		}
		fields := &fieldpath.Set{}
		if err := fields.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
			return declared, err
		}
		spec, _ := a.git.Object["spec"].(map[string]any)
		for name := range spec {
			if fields.Has(fieldpath.MakePathOrDie("spec", name)) {
				unstructured.RemoveNestedField(declared.git.Object, "spec", name)
			}
		}
	}
	return declared, nil
}

// countWrites returns Argo CD's writes of the object after the mark.
func (a *application) countWrites(mark testbed.Mark, resource string) int {
	a.t.Helper()
	logged, err := a.cluster.Audit().Since(mark)
	a.Expect(err).NotTo(HaveOccurred())
	return len(slices.DeleteFunc(logged, func(e testbed.AuditEvent) bool {
		uri, err := url.Parse(e.URI)
		ours := err == nil && uri.Query().Get("fieldManager") == argoManager
		return !ours || !e.Mutating() || !e.Succeeded() || e.Resource != resource || e.Name != a.git.GetName()
	}))
}

// leapingClock is a wall clock that remembers when it was set ahead.
type leapingClock struct {
	wallClock
	mu    sync.Mutex
	leaps []leap
}

type leap struct {
	at time.Time // real
	by time.Duration
}

func (c *leapingClock) leapBy(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaps = append(c.leaps, leap{at: time.Now(), by: d})
	c.wallClock.leapBy(d)
}

// showTimes returns the events with the times that the clock showed.
func (c *leapingClock) showTimes(events []testbed.AuditEvent) []testbed.AuditEvent {
	c.mu.Lock()
	defer c.mu.Unlock()
	shown := slices.Clone(events)
	for i, e := range events {
		for _, l := range c.leaps {
			if l.at.Before(e.Time) {
				shown[i].Time = shown[i].Time.Add(l.by)
			}
		}
	}
	return shown
}
