// SPDX-License-Identifier: Apache-2.0

package rollout_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

var seed = flag.Uint64("seed", 1, "of the first simulation; 0 takes random ones")

const (
	simulations = 60
	steps       = 300
)

// TestWhateverHappensTheRolloutIsSafe runs random events on a cluster. The
// operator keeps no state in memory, and may stop between any two writes.
func TestWhateverHappensTheRolloutIsSafe(t *testing.T) {
	var seeds []uint64
	for i := range uint64(simulations) {
		next := *seed + i
		if *seed == 0 {
			next = rand.Uint64()
		}
		seeds = append(seeds, next)
	}
	seen := map[string]int{}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			w := newWorld(t, seed, seen)
			for range steps {
				w.happen()
				w.reconcile()
			}
		})
	}
	t.Log(seen)
	for _, what := range []string{
		"Pending to Progressing", "Progressing to Enforced", "Progressing to Reverted", "Progressing to Aborted", "Progressing to Pending",
		"Pending to Aborted", "Pending to Enforced", "Enforced to Pending", "Enforced to Reverted", "Reverted to Pending", "Aborted to Pending",
	} {
		if seen[what] == 0 {
			t.Errorf("no simulation had this transition, so it is untested: %s", what)
		}
	}
}

// world is a cluster.
type world struct {
	t           *testing.T
	random      *rand.Rand
	in          rollout.Input // nodes with enactments as persisted
	version     string        // of the declared rules; empty while unknown
	live        []liveNode
	limit       int
	wantsScoped bool            // a change of this field is another version
	blind       bool            // no observer runs
	tainted     map[string]bool // node and generation in which the node was reverted
	tried       map[string]bool // node and version with which the node was enforced
	lost        map[string]bool // nodes whose enactment was deleted, until they are started
	seen        map[string]int
}

// liveNode is what a node really has.
type liveNode struct {
	rollout.Ruleset
	written time.Time
}

func newWorld(t *testing.T, seed uint64, seen map[string]int) *world {
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 0)), tainted: map[string]bool{}, tried: map[string]bool{}, lost: map[string]bool{}, seen: seen}
	n := 1 + w.random.IntN(7)
	w.in = input(n, atOnce(int32(1+w.random.IntN(3))), soak(int32(w.random.IntN(3)*15)))
	w.in.Rollout.TimeoutSeconds = 30
	if w.chance(3) || n < 3 {
		w.in.Rollout.Confirm = v1alpha1.ConfirmManual
	}
	w.version = "good-1"
	w.limit = max(1, min(int(w.in.Rollout.MaxUnavailable), (n-1)/2))
	w.live = make([]liveNode, n)
	w.wantsScoped = !w.chance(4)
	w.blind = w.chance(4)
	return w
}

func (w *world) chance(of int) bool { return w.random.IntN(of) == 0 }

func (w *world) node() *rollout.Node { return &w.in.Nodes[w.random.IntN(len(w.in.Nodes))] }

func (w *world) errorf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf(format, args...)
}

// happen advances the time and runs a random event.
func (w *world) happen() {
	w.in.Now = w.in.Now.Add(time.Duration(w.random.IntN(3000)) * time.Millisecond)
	switch w.random.IntN(300) {
	case 0:
		w.node().Ready = false
	case 1, 2, 3, 4, 5:
		versions := []string{"good-1", "good-2", "good-3", "bad", "tight"}
		if live := w.live[w.random.IntN(len(w.live))].Version; live != "" {
			versions = append(versions, live, live, live) // a change to the declaration of before
		}
		w.version = versions[w.random.IntN(len(versions))]
		w.in.Generation += int64(w.random.IntN(2))
	case 6, 7, 8:
		w.in.Generation++
	case 9:
		w.in.CutFlow = "etcd"
	case 10:
		w.in.Intent, w.in.Reason = intent.RollBack, "help"
	case 11:
		w.in.Reason = "not yet"
	case 16:
		w.version, w.in.Reason = "", "unknown"
	case 12, 13:
		w.in.Now = w.in.Now.Add(time.Minute)
	case 14, 15:
		w.in.OthersInFlight = w.random.IntN(2)
	case 17, 18:
		w.tamper()
	}
	if w.chance(10) {
		w.in.CutFlow, w.in.Intent, w.in.Reason = "", intent.Enforce, ""
		w.version = cmp.Or(w.version, "good-1")
		for i := range w.in.Nodes {
			w.in.Nodes[i].Ready = true
		}
	}
	for i := range w.in.Nodes {
		if !w.blind {
			w.observe(&w.in.Nodes[i], &w.live[i])
		}
	}
	if e := w.node().Enactment; e != nil && w.chance(10) {
		e.Annotations = map[string]string{v1alpha1.AnnotationConfirm: fmt.Sprint(w.in.Generation)}
	}
}

// tamper deletes enactments or removes rules, of one node or of all nodes.
func (w *world) tamper() {
	what, only := w.random.IntN(3), w.random.IntN(2*len(w.in.Nodes))
	for i := range w.in.Nodes {
		if only < len(w.in.Nodes) && only != i {
			continue
		}
		switch n := &w.in.Nodes[i]; what {
		case 0:
			n.Enactment, w.lost[n.Name] = nil, true
			for generation := range w.in.Generation + 1 {
				delete(w.tainted, fmt.Sprintf("%s in %d", n.Name, generation)) // a retry
			}
		case 1:
			w.live[i] = liveNode{written: w.in.Now}
		case 2:
			w.live[i].FailsafesScoped = false
		}
	}
}

// observe lets the observers answer, sometimes late or not at all.
func (w *world) observe(n *rollout.Node, live *liveNode) {
	if n.Enactment == nil {
		return
	}
	e := n.Enactment.DeepCopy()
	for _, who := range []string{"cp-0", "worker"} {
		if w.chance(3) || ptr.Deref(e.Spec.ProbeRound, 0) == 0 || !e.HasOperatorsProbeRequest() {
			continue
		}
		outcome := open
		if live.Version == "bad" || live.Version == "tight" && live.FailsafesScoped || w.chance(2000) {
			outcome = dropped
		}
		e.Status.Observers = append(
			slices.DeleteFunc(e.Status.Observers, func(o v1alpha1.Observation) bool { return o.Name == who }),
			answer(e, who, *e.Spec.ProbeRound, outcome, outcome))
	}
	n.Enactment = e
}

// reconcile does what the caller does: writes the enactments first, then
// changes the cluster. The run may stop after every write.
func (w *world) reconcile() {
	switch {
	case w.in.Intent == intent.RollBack:
	case w.version == "":
		w.in.Intent = intent.Hold
	default:
		w.in.Intent = intent.Enforce
	}
	for i := range w.in.Nodes {
		n, live := &w.in.Nodes[i], w.live[i]
		n.Live, n.Declared = live.Ruleset, rollout.Ruleset{Version: w.version, FailsafesScoped: w.wantsScoped && w.version != ""}
		n.Programmed = live.Ruleset == rollout.RulesetFor(n.Enactment) && !w.in.Now.Before(live.written.Add(time.Second))
	}
	d := decide(w.t, w.in)
	if d.WakeAfter < 0 || d.WakeAfter > 10*time.Minute {
		w.errorf("wakes after %s", d.WakeAfter)
	}
	recorded := make([]bool, len(d.Enactments)) // whether the enactment is as decided
	for i := range d.Enactments {
		was := w.in.Nodes[i].Enactment
		recorded[i] = was != nil && reflect.DeepEqual(was.Status, d.Enactments[i].Status) &&
			was.Annotations[v1alpha1.AnnotationConfirm] == d.Enactments[i].Annotations[v1alpha1.AnnotationConfirm]
	}
	for _, i := range w.random.Perm(len(d.Enactments)) { // in random order
		if w.chance(30) || !w.persist(&w.in.Nodes[i], &d.Enactments[i]) {
			break
		}
	}
	w.write(recorded)
	w.invariants()
}

// write brings the cluster to the state on record. A write that only rolls back
// waits only for the enactment of its node; other writes wait for all enactments.
func (w *world) write(recorded []bool) {
	restricted, all := 0, w.version != "" && !slices.Contains(recorded, false)
	for i := range w.in.Nodes {
		e := w.in.Nodes[i].Enactment
		phase := rollout.PhaseOf(e)
		back := w.live[i].Restricts() && phase != v1alpha1.PhaseProgressing && phase != v1alpha1.PhaseEnforced
		if phase == "" || !recorded[i] || !all && !back || w.chance(4) {
			continue
		}
		want, has := rollout.RulesetFor(e), w.live[i].Ruleset
		if has == want {
			continue
		}
		if want.Restricts() && !has.Restricts() || want.FailsafesScoped && !has.FailsafesScoped {
			restricted++
		}
		w.live[i] = liveNode{want, w.in.Now}
	}
	if restricted > w.limit+1 { // one repaired node beside those in flight
		w.errorf("%d nodes are restricted at once", restricted)
	}
}

// persist writes an enactment: first its spec, then its status, and then the removal of a
// confirmation.
func (w *world) persist(n *rollout.Node, to *v1alpha1.ControlPlaneNodeEnactment) bool {
	was := n.Enactment
	is := to.DeepCopy()
	is.Status = v1alpha1.ControlPlaneNodeEnactmentStatus{}
	if was == nil {
		is.CreationTimestamp = metav1.Time{Time: w.in.Now.Truncate(time.Second)}
	} else {
		is.Status, is.Annotations = *was.Status.DeepCopy(), maps.Clone(was.Annotations)
	}
	n.Enactment = is
	if w.chance(30) {
		return false
	}
	is.Status = *to.Status.DeepCopy()
	w.transition(n, was, is)
	if w.chance(30) {
		return false
	}
	is.Annotations = maps.Clone(to.Annotations)
	return true
}

// transition checks which transitions a node may make.
func (w *world) transition(n *rollout.Node, was, is *v1alpha1.ControlPlaneNodeEnactment) {
	from, to := rollout.PhaseOf(was), rollout.PhaseOf(is)
	key := fmt.Sprintf("%s in %d", n.Name, is.Status.PolicyGeneration)
	if from != to {
		w.seen[from+" to "+to]++
	}
	switch to {
	case v1alpha1.PhaseProgressing:
		if w.version == "" {
			w.errorf("%s is in flight, and nobody knows what is called for", n.Name)
		}
		if w.tainted[key] {
			w.errorf("%s is Progressing again", key)
		}
		if from == to {
			return
		}
		delete(w.lost, n.Name)
		for _, other := range w.in.Nodes {
			if !other.Ready {
				w.errorf("%s was started while %s was not ready", n.Name, other.Name)
			}
		}
		if w.in.CutFlow != "" || w.in.Reason != "" || n.Live.Version != is.Status.PreviousRuleset {
			w.errorf("%s was started: %+v", n.Name, w.in)
		}
	case v1alpha1.PhaseEnforced:
		w.tried[n.Name+" with "+is.Status.Ruleset] = true
		// The policy declares the ruleset of before again, which the node still has.
		still := n.Live.Version == is.Status.Ruleset && was != nil && was.Status.Ruleset != is.Status.Ruleset && was.Status.AdoptedTime == nil
		if from != to && from != v1alpha1.PhaseProgressing && !still {
			w.errorf("%s is Enforced after %q", n.Name, from)
		}
		cuts := is.Status.Ruleset == "bad" || is.Status.Ruleset == "tight" && w.wantsScoped
		if from == v1alpha1.PhaseProgressing && cuts && phase(is).Reason == v1alpha1.ReasonProven {
			w.errorf("%s is proven with rules that cut everything", n.Name)
		}
		if from != to && w.wantsScoped && is.Status.FailsafesScopedTime == nil {
			w.errorf("%s is done, and its failsafe ports are wide", n.Name)
		}
	case v1alpha1.PhaseReverted:
		w.tainted[key] = w.tainted[key] || phase(is).Reason != v1alpha1.ReasonRolledBack
	}
	w.rolledBack(n, was, is)
}

// rolledBack checks that a node that leaves flight without being enforced gets its previous ruleset.
func (w *world) rolledBack(n *rollout.Node, was, is *v1alpha1.ControlPlaneNodeEnactment) {
	if rollout.PhaseOf(was) != v1alpha1.PhaseProgressing {
		return
	}
	switch rollout.PhaseOf(is) {
	case v1alpha1.PhaseProgressing, v1alpha1.PhaseEnforced:
		return
	}
	want := was.Status.PreviousRuleset
	if phase(is).Reason == v1alpha1.ReasonRolledBack {
		want = ""
	}
	if to := rollout.RulesetFor(is); to != (rollout.Ruleset{Version: want}) {
		w.errorf("%s is rolled back to %q instead of %q", n.Name, to.Version, want)
	}
}

// invariants checks what must hold in the cluster at any time.
func (w *world) invariants() {
	progressing, untried := 0, 0
	for i, n := range w.in.Nodes {
		switch rollout.PhaseOf(n.Enactment) {
		case v1alpha1.PhaseProgressing:
			progressing++
			untried++
		case v1alpha1.PhasePending:
			if live := w.live[i].Version; live != "" && live != n.Enactment.Status.PreviousRuleset && !w.tried[n.Name+" with "+live] && !w.lost[n.Name] {
				untried++
			}
		}
		// A node that had the rules already may have scoped failsafe ports that are not open yet.
		if w.live[i].FailsafesScoped && rollout.PhaseOf(n.Enactment) == v1alpha1.PhaseProgressing && n.Enactment.Status.FailsafesScopedTime == nil &&
			w.live[i].Version == n.Enactment.Status.Ruleset && !w.live[i].written.Before(n.Enactment.Status.StartTime.Time) {
			w.errorf("the failsafe ports of %s are scoped before it soaked", n.Name)
		}
	}
	if progressing > w.limit || untried > w.limit {
		w.errorf("%d nodes Progressing, %d with untried rules, at most %d", progressing, untried, w.limit)
	}
}
