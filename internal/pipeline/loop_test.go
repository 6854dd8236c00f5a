// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/schedule"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/verify"
)

// The seeds include clusters (28, 44) in which a foreign endpoint takes the place of new rules
// while a node waits with older rules.
var loopSeed = flag.Uint64("loop-seed", 22, "of the first cluster that is changed at random; 0 takes random ones")

const loops = 24

// The loop from the plan to the cluster is closed without a server: policies change, and
// people delete enactments, endpoints and failsafe ports, at random. Outside of a trial no
// node gets new rules, or loses declared rules. After the last foreign change every node has
// the declared rules, and nothing is written any more.
func TestClusterComesToRestAfterForeignChanges(t *testing.T) {
	for i := range uint64(loops) {
		seed := *loopSeed + i
		if *loopSeed == 0 {
			seed = rand.Uint64()
		}
		t.Run(fmt.Sprintf("loop-seed=%d", seed), func(t *testing.T) {
			w := newLoop(t, seed)
			w.run(w.random.IntN(60))
			for range 2 + w.random.IntN(6) {
				w.meddle()
				w.run(w.random.IntN(25))
			}
			w.comesToRest()
		})
	}
}

// loop is a cluster in memory.
type loop struct {
	t        *testing.T
	random   *rand.Rand
	clock    *clocktesting.FakePassiveClock
	rollouts Rollouts
	there    state.Snapshot
	judge    verify.Judge
	// put writes an object to the cluster, or deletes the object.
	put func(object plan.Object, gone bool)
	// phases are all phases that a node has had.
	phases map[string]bool
	tried  map[string]bool // node and version of rules that it was done with, or found with
	story  []string
}

func newLoop(t *testing.T, seed uint64) *loop {
	w := &loop{
		t: t, random: rand.New(rand.NewPCG(seed, 0)), tried: map[string]bool{}, judge: judge.Calico{}, phases: map[string]bool{},
		clock: clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
	}
	w.put = w.putInCalico
	w.rollouts.Stages = &schedule.Stages{Time: time.Millisecond}
	w.there = calicotest.Snapshot(func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Rollout = &v1alpha1.Rollout{SoakSeconds: ptr.To(int32(0)), MaxUnavailable: 1, TimeoutSeconds: 60}
		if seed%4 == 0 {
			p.Spec.Rollout.Confirm = v1alpha1.ConfirmManual
		}
	})
	calicotest.Edit(&w.there.Backend, func(c *calico.Live) { c.Endpoints = nil })
	for i := range w.there.Nodes {
		second := corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.1.0.%d", i+1)}
		w.there.Nodes[i].Status.Addresses = append(w.there.Nodes[i].Status.Addresses, second)
	}
	w.declare(0)
	return w
}

func (w *loop) tell(format string, args ...any) {
	w.story = append(w.story, w.clock.Now().Format(time.TimeOnly)+" "+fmt.Sprintf(format, args...))
}

func (w *loop) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.story[max(0, len(w.story)-60):], "\n"))
}

// declare changes what the policy restricts.
func (w *loop) declare(what int) {
	policy, controlPlane := &w.there.Policies[0], []v1alpha1.PeerReference{{Role: "ControlPlane"}}
	network := &v1alpha1.NetworkSpec{Failsafe: v1alpha1.FailsafeScope, Components: []v1alpha1.Component{{Name: "etcd", AllowFrom: controlPlane}}}
	switch what {
	case 1:
		network.Components[0].Interface, network.Components[0].AddressCIDR = "eth1", "10.1.0.0/24"
	case 2:
		network.Failsafe = v1alpha1.FailsafeKeep
	case 4:
		network.Components = []v1alpha1.Component{{Name: "scheduler", AllowFrom: controlPlane, Interface: "eth1"}}
	case 3:
		network.Components = append(network.Components, v1alpha1.Component{Name: "scheduler", AllowFrom: controlPlane})
	}
	policy.Generation++
	policy.Spec.Network = network
	w.tell("the policy declares %d", what)
}

// meddle makes a random foreign change.
func (w *loop) meddle() {
	node, there := w.there.Nodes[w.random.IntN(len(w.there.Nodes))].Name, calico.Of(w.there.Backend)
	what := w.random.IntN(8)
	w.tell("somebody does %d to %s", what, node)
	switch what {
	case 0, 1:
		w.declare(w.random.IntN(5))
	case 2:
		w.there.Enactments = slices.DeleteFunc(w.there.Enactments, func(e v1alpha1.ControlPlaneNodeEnactment) bool { return e.Spec.Node == node })
	case 3:
		w.there.Enactments = nil
	case 4:
		there.Endpoints = slices.DeleteFunc(there.Endpoints, func(e v3.HostEndpoint) bool { return e.Spec.Node == node && calico.IsManagedEndpoint(&e) })
	case 5:
		there.Felix = slices.DeleteFunc(there.Felix, func(f v3.FelixConfiguration) bool { return f.Name == calico.FelixConfigurationName(node) })
	case 6:
		iface := []string{backend.EveryInterface, "eth1"}[w.random.IntN(2)]
		there.Endpoints = append(there.Endpoints, v3.HostEndpoint{
			ObjectMeta: metav1.ObjectMeta{Name: "theirs-" + node + "-" + strings.TrimPrefix(iface, "*")},
			Spec:       v3.HostEndpointSpec{Node: node, InterfaceName: iface, Profiles: []string{"projectcalico-default-allow"}},
		})
	case 7:
		w.withdraw()
		return
	}
	w.there.Backend = there
}

// withdraw deletes the foreign endpoints.
func (w *loop) withdraw() {
	calicotest.Edit(&w.there.Backend, func(c *calico.Live) {
		c.Endpoints = slices.DeleteFunc(c.Endpoints, func(e v3.HostEndpoint) bool { return !calico.IsManagedEndpoint(&e) })
	})
}

func (w *loop) run(steps int) {
	for range steps {
		w.step()
	}
}

// step is a reconciliation, and tells whether anything changed.
func (w *loop) step() (changed bool) {
	w.clock.SetTime(w.clock.Now().Add(4 * time.Second))
	policies := plan.Compile(w.there.Policies)
	policy := &policies[0]
	o := Assessment{
		Judge: w.judge, Policy: policy, Policies: policies, Snapshot: w.there, Verdict: verify.Verdict{Holds: true},
		Hosts: plan.HostProtection(policy, policies, w.there),
	}
	if !o.Hosts.Rendered() {
		w.fail("nothing is rendered: %v", o.Hosts.Held)
	}
	o.HostDiff = drift.CompareHosts(policy, policies, o.Hosts, w.there.Backend)
	o.verifyFlows()
	in, _ := w.rollouts.input(&o, w.clock.Now())
	decision, _ := w.rollouts.turns.Decide(in, w.there)
	unsettled := w.record(decision)
	rollBacks, rest := o.HostDiff.SplitRollBacks(func(write drift.Write) bool { return !unsettled[write.Node] })
	var stages []Stage
	for _, part := range rollBacks {
		stages = append(stages, StagesOf(part)...)
	}
	if len(stages) == 0 && len(unsettled) == 0 && o.Verdict.Holds {
		stages = StagesOf(rest)
		stages = stages[:min(len(stages), 1)] // the others wait for it
	}
	for _, stage := range stages {
		for _, write := range stage.Writes {
			changed = w.write(write) || changed
		}
	}
	return changed || len(unsettled) > 0
}

// record persists a decision. People confirm each requested confirmation.
func (w *loop) record(decision rollout.Decision) (unsettled map[string]bool) {
	unsettled = map[string]bool{}
	trials := 0
	for _, e := range decision.Enactments {
		phase := rollout.PhaseOf(&e)
		live := plan.EnactmentOf("p", e.Spec.Node, w.there.Enactments)
		w.phases[phase] = true
		if phase == v1alpha1.PhaseProgressing {
			trials++
		}
		if has := plan.LiveVersion("p", e.Spec.Node, e.Status.Ruleset, w.there.Backend.HostEndpoints()); phase == v1alpha1.PhaseEnforced && has != "" {
			w.tried[e.Spec.Node+" "+has] = true
		}
		if e.Status.AdoptedTime != nil {
			w.tried[e.Spec.Node+" "+e.Status.PreviousRuleset] = true
		}
		for _, c := range e.Status.Conditions {
			if c.Status == metav1.ConditionTrue && c.Reason == v1alpha1.ReasonAwaitingConfirmation {
				e.Annotations = map[string]string{v1alpha1.AnnotationConfirm: strconv.FormatInt(w.there.Policies[0].Generation, 10)}
			}
		}
		if live != nil && SameEnactment(&e, live) {
			continue
		}
		unsettled[e.Spec.Node] = true
		w.tell("record %s: %s of %s, back to %q", e.Spec.Node, phase, e.Status.Ruleset, e.Status.PreviousRuleset)
		if e.CreationTimestamp.IsZero() {
			e.CreationTimestamp = metav1.Time{Time: w.clock.Now()}
		}
		w.there.Enactments = append(slices.DeleteFunc(w.there.Enactments, func(other v1alpha1.ControlPlaneNodeEnactment) bool {
			return other.Name == e.Name
		}), e)
	}
	if trials > int(w.there.Policies[0].Spec.Rollout.MaxUnavailable) {
		w.fail("%d nodes are under way at once", trials)
	}
	return unsettled
}

// write makes one write.
func (w *loop) write(write drift.Write) bool {
	if write.IsConflicted() {
		return false
	}
	object, gone := write.Live, true
	if write.Stage == backend.StageEndpoints && write.Desired == nil {
		version := rollout.RulesetFor(plan.EnactmentOf("p", write.Node, w.there.Enactments)).Version
		others := slices.ContainsFunc(w.there.Backend.HostEndpoints(), func(o backend.Endpoint) bool {
			return o.Node == write.Node && o.Managed && o.Name != object.GetName()
		})
		if version != "" && !others {
			w.fail("%s loses rules %s, and is to have %s", write.Node, backend.TraitsOf(object).Version, version)
		}
	}
	if write.Desired != nil {
		object, gone = write.Desired.DeepCopyObject().(plan.Object), false
		object.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: v1alpha1.FieldManagerNetwork, Operation: metav1.ManagedFieldsOperationApply}})
		if write.Stage == backend.StageEndpoints {
			version := backend.TraitsOf(object).Version
			phase := rollout.PhaseOf(plan.EnactmentOf("p", write.Node, w.there.Enactments))
			if !w.tried[write.Node+" "+version] && phase != v1alpha1.PhaseProgressing {
				w.fail("%s gets rules %s outside a trial: it is %s", write.Node, version, phase)
			}
		}
	}
	w.tell("write %s, deleted %t: %s", write.Object, gone, backend.TraitsOf(object).Version)
	w.put(object, gone)
	return true
}

// putInCalico writes an object to Calico, or deletes the object.
func (w *loop) putInCalico(object plan.Object, gone bool) {
	there := calico.Of(w.there.Backend)
	switch o := object.(type) {
	case *v3.Tier:
		there.Tiers = put(there.Tiers, *o, gone, func(a v3.Tier) string { return a.Name })
	case *v3.GlobalNetworkSet:
		there.Sets = put(there.Sets, *o, gone, func(a v3.GlobalNetworkSet) string { return a.Name })
	case *v3.GlobalNetworkPolicy:
		there.Policies = put(there.Policies, *o, gone, func(a v3.GlobalNetworkPolicy) string { return a.Name })
	case *v3.HostEndpoint:
		there.Endpoints = put(there.Endpoints, *o, gone, func(a v3.HostEndpoint) string { return a.Name })
	case *v3.FelixConfiguration:
		there.Felix = put(there.Felix, *o, gone, func(a v3.FelixConfiguration) string { return a.Name })
	}
	w.there.Backend = there
}

// put returns the list with the object in place of the object of the same name, or without
// the object.
func put[T any](list []T, object T, gone bool, name func(T) string) []T {
	list = slices.DeleteFunc(slices.Clone(list), func(other T) bool { return name(other) == name(object) })
	if !gone {
		list = append(list, object)
	}
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(name(a), name(b)) })
	return list
}

// comesToRest makes no foreign changes any more.
func (w *loop) comesToRest() {
	w.tell("everybody leaves it alone")
	w.withdraw()
	w.declare(w.random.IntN(5)) // what failed is tried again
	const enough, quiet = 300, 40
	for steps, still := 0, 0; still < quiet; steps++ {
		if still++; w.step() {
			still = 0
		}
		if steps == enough {
			w.fail("it does not come to rest")
		}
	}
	for i := range w.there.Enactments {
		e := &w.there.Enactments[i]
		live := plan.LiveVersion("p", e.Spec.Node, e.Status.Ruleset, w.there.Backend.HostEndpoints())
		if phase := rollout.PhaseOf(e); phase != v1alpha1.PhaseEnforced || live != e.Status.Ruleset {
			w.fail("at rest, %s is %s, of %s, and has %q", e.Spec.Node, phase, e.Status.Ruleset, live)
		}
	}
}
