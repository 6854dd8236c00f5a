// SPDX-License-Identifier: Apache-2.0

package rollout_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

var (
	now    = time.Unix(1_700_000_000, 500_000_000)
	second = now.Truncate(time.Second)
)

// ago returns the time so many seconds before now, as the API server returns a time.
func ago(seconds int) *metav1.Time {
	return &metav1.Time{Time: second.Add(-time.Duration(seconds) * time.Second)}
}

type edit func(*rollout.Input)

// input is the input for a policy in its third generation that calls for
// ruleset "new" on ready nodes. No node has an enactment yet.
func input(nodes int, edits ...edit) rollout.Input {
	in := rollout.Input{
		Now: now, Policy: "p", UID: "uid", Generation: 3, Intent: intent.Enforce,
		Rollout: &v1alpha1.Rollout{MaxUnavailable: 1, SoakSeconds: ptr.To(int32(60)), Confirm: v1alpha1.ConfirmAuto, TimeoutSeconds: 120},
	}
	for i := range nodes {
		address := fmt.Sprintf("10.0.0.%d", i+1)
		in.Nodes = append(in.Nodes, rollout.Node{
			Name: fmt.Sprintf("cp-%d", i+1), Ready: true, Created: ago(1_000_000).Time, Programmed: true, Declared: rollout.Ruleset{Version: "new"},
			Targets: []v1alpha1.ProbeTarget{
				{Address: address, Port: 6443, Protocol: v1alpha1.ProbeTLS},
				{Address: address, Port: 2379, Protocol: v1alpha1.ProbeTLS},
				{Address: address, Port: 22, Protocol: v1alpha1.ProbeTCP},
			},
			Expect: expect,
		})
	}
	for _, edit := range edits {
		edit(&in)
	}
	return in
}

// expect is a matrix in which every observer may connect to the API server,
// and only control-plane nodes may connect to etcd.
func expect(o v1alpha1.Observation, _ string, port v1alpha1.PortNumber) rollout.Expectation {
	switch {
	case port == 6443, port == 2379 && o.Name != "worker":
		return rollout.MustConnect
	case port == 2379:
		return rollout.MustNotConnect
	}
	return rollout.AnyOutcome
}

type change func(*v1alpha1.ControlPlaneNodeEnactment)

// in puts a node into a phase, with ruleset "new". A node in flight was
// started 100 s ago, and probe round 7 was requested 2 s ago.
func in(node int, phase, reason string, changes ...change) edit {
	return func(in *rollout.Input) {
		n := &in.Nodes[node-1]
		e := &v1alpha1.ControlPlaneNodeEnactment{
			ObjectMeta: metav1.ObjectMeta{
				Name: "p." + n.Name, ResourceVersion: "1", Labels: map[string]string{v1alpha1.LabelPolicy: "p"},
				OwnerReferences: []metav1.OwnerReference{{
					APIVersion: "cpnp.dev/v1alpha1", Kind: "ControlPlaneNetworkPolicy", Name: "p", UID: "uid", Controller: ptr.To(true),
				}},
			},
			Spec:   v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: "p", Node: n.Name, ProbeRound: ptr.To(int64(7)), Targets: n.Targets},
			Status: v1alpha1.ControlPlaneNodeEnactmentStatus{PolicyGeneration: 3, Ruleset: "new", ProbeRequestTime: ago(2)},
		}
		for _, p := range phases {
			c := metav1.Condition{Type: p, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonPhaseOver, LastTransitionTime: *ago(100)}
			if p == phase {
				c.Status, c.Reason, c.Message = metav1.ConditionTrue, reason, "as it was"
			}
			e.Status.Conditions = append(e.Status.Conditions, c)
		}
		if phase == v1alpha1.PhaseProgressing {
			e.Status.StartTime = ago(100)
		}
		for _, change := range changes {
			change(e)
		}
		n.Enactment = e
	}
}

var phases = []string{
	v1alpha1.PhasePending, v1alpha1.PhaseProgressing, v1alpha1.PhaseEnforced, v1alpha1.PhaseReverted, v1alpha1.PhaseAborted,
}

func pending(node int, reason string, changes ...change) edit {
	return in(node, v1alpha1.PhasePending, reason, changes...)
}
func progressing(node int, reason string, changes ...change) edit {
	return in(node, v1alpha1.PhaseProgressing, reason, changes...)
}
func enforced(node int, changes ...change) edit {
	return in(node, v1alpha1.PhaseEnforced, v1alpha1.ReasonProven, append([]change{soakedFor(100)}, changes...)...)
}
func reverted(node int, reason string, changes ...change) edit {
	return in(node, v1alpha1.PhaseReverted, reason, changes...)
}
func aborted(node int, changes ...change) edit {
	return in(node, v1alpha1.PhaseAborted, v1alpha1.ReasonRolloutFailed, changes...)
}

func soakedFor(seconds int) change {
	return func(e *v1alpha1.ControlPlaneNodeEnactment) { e.Status.SoakTime = ago(seconds) }
}
func scopedFor(seconds int) change {
	return func(e *v1alpha1.ControlPlaneNodeEnactment) { e.Status.FailsafesScopedTime = ago(seconds) }
}
func wasScopedFor(seconds int) change {
	return func(e *v1alpha1.ControlPlaneNodeEnactment) { e.Status.PreviousFailsafesScopedTime = ago(seconds) }
}
func adoptedFor(seconds int) change {
	return func(e *v1alpha1.ControlPlaneNodeEnactment) { e.Status.AdoptedTime = ago(seconds) }
}
func asked(seconds int) change {
	return func(e *v1alpha1.ControlPlaneNodeEnactment) { e.Status.ProbeRequestTime = ago(seconds) }
}
func recorded(seconds int) change {
	return func(e *v1alpha1.ControlPlaneNodeEnactment) { e.CreationTimestamp = *ago(seconds) }
}
func startedFor(seconds int) change {
	return func(e *v1alpha1.ControlPlaneNodeEnactment) { e.Status.StartTime = ago(seconds) }
}
func version(version, previous string) change {
	return func(e *v1alpha1.ControlPlaneNodeEnactment) {
		e.Status.Ruleset, e.Status.PreviousRuleset = version, previous
	}
}
func generation(n int64) change {
	return func(e *v1alpha1.ControlPlaneNodeEnactment) { e.Status.PolicyGeneration = n }
}
func confirming(generation string) change {
	return func(e *v1alpha1.ControlPlaneNodeEnactment) {
		e.Annotations = map[string]string{v1alpha1.AnnotationConfirm: generation}
	}
}

// answer is what an observer found on the ports of the API server and of etcd.
func answer(e *v1alpha1.ControlPlaneNodeEnactment, who string, round int64, api, etcd v1alpha1.ProbeOutcome) v1alpha1.Observation {
	address := e.Spec.Targets[0].Address
	return v1alpha1.Observation{Name: who, ProbeRound: round, Time: ago(1), Results: []v1alpha1.ProbeResult{
		{Address: address, Port: 6443, Outcome: api}, {Address: address, Port: 2379, Outcome: etcd},
	}}
}
func before(who string, api, etcd v1alpha1.ProbeOutcome) change {
	return func(e *v1alpha1.ControlPlaneNodeEnactment) {
		e.Status.Baseline = append(e.Status.Baseline, answer(e, who, 3, api, etcd))
	}
}
func found(who string, round int64, api, etcd v1alpha1.ProbeOutcome) change {
	return func(e *v1alpha1.ControlPlaneNodeEnactment) {
		e.Status.Observers = append(e.Status.Observers, answer(e, who, round, api, etcd))
	}
}

const (
	open, silent, refused, dropped = v1alpha1.ProbeOpen, v1alpha1.ProbeSilent, v1alpha1.ProbeRefused, v1alpha1.ProbeDropped
)

func unprogrammed(node int) edit {
	return func(in *rollout.Input) { in.Nodes[node-1].Programmed = false }
}
func notReady(node int) edit { return func(in *rollout.Input) { in.Nodes[node-1].Ready = false } }
func foreign(node int) edit {
	return func(in *rollout.Input) { in.Nodes[node-1].ForeignEndpoint = "theirs" }
}
func wantsScoped(node int) edit {
	return func(in *rollout.Input) { in.Nodes[node-1].Declared.FailsafesScoped = true }
}
func scoped(node int) edit {
	return func(in *rollout.Input) { in.Nodes[node-1].Live.FailsafesScoped = true }
}
func contested(node int) edit {
	return func(in *rollout.Input) { in.Nodes[node-1].FailsafesContested = true }
}
func live(node int, version string) edit {
	return func(in *rollout.Input) { in.Nodes[node-1].Live.Version = version }
}
func created(node, seconds int) edit {
	return func(in *rollout.Input) { in.Nodes[node-1].Created = ago(seconds).Time }
}
func manual(in *rollout.Input)     { in.Rollout.Confirm = v1alpha1.ConfirmManual }
func defaults(in *rollout.Input)   { in.Rollout = nil }
func cut(in *rollout.Input)        { in.CutFlow = "etcd to etcd" }
func unjudged(in *rollout.Input)   { in.Reason, in.NotJudged = "held", "eBPF" }
func unverified(in *rollout.Input) { in.Reason = "not yet" }
func unknown(in *rollout.Input)    { in.Intent = intent.Hold }
func rollBack(in *rollout.Input)   { in.Intent, in.Reason = intent.RollBack, "help" }
func noTargets(in *rollout.Input)  { in.Nodes[0].Targets = nil }
func atOnce(n int32) edit          { return func(in *rollout.Input) { in.Rollout.MaxUnavailable = n } }
func soak(seconds int32) edit      { return func(in *rollout.Input) { in.Rollout.SoakSeconds = &seconds } }
func inFlight(n int) edit          { return func(in *rollout.Input) { in.OthersInFlight = n } }

// phasesOf returns the phase and the reason of every node.
func phasesOf(enactments []v1alpha1.ControlPlaneNodeEnactment) []string {
	var out []string
	for i := range enactments {
		c := phase(&enactments[i])
		out = append(out, c.Type+"/"+c.Reason)
	}
	return out
}

func phase(e *v1alpha1.ControlPlaneNodeEnactment) metav1.Condition {
	if c := meta.FindStatusCondition(e.Status.Conditions, rollout.PhaseOf(e)); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// next is the input after the decision has been persisted.
func next(in rollout.Input, d rollout.Decision) rollout.Input {
	in.Nodes = slices.Clone(in.Nodes)
	for i := range in.Nodes {
		n := &in.Nodes[i]
		was := rollout.RulesetFor(n.Enactment)
		n.Enactment = d.Enactments[i].DeepCopy()
		n.Programmed = n.Programmed && rollout.RulesetFor(n.Enactment) == was
	}
	return in
}

// copied returns a deep copy of an input.
func copied(in rollout.Input) rollout.Input {
	in.Nodes = slices.Clone(in.Nodes)
	in.Rollout = in.Rollout.DeepCopy()
	for i := range in.Nodes {
		in.Nodes[i].Enactment = in.Nodes[i].Enactment.DeepCopy()
		in.Nodes[i].Targets = slices.Clone(in.Nodes[i].Targets)
	}
	return in
}

// decide decides, and checks what holds for every decision.
func decide(t *testing.T, in rollout.Input) rollout.Decision {
	t.Helper()
	given := copied(in)
	d := rollout.Decide(in)
	for i, n := range in.Nodes {
		if !reflect.DeepEqual(n.Enactment, given.Nodes[i].Enactment) || !reflect.DeepEqual(n.Targets, given.Nodes[i].Targets) {
			t.Fatalf("the input was modified: %s", cmp.Diff(given.Nodes[i].Enactment, n.Enactment))
		}
	}
	if len(d.Enactments) != len(in.Nodes) {
		t.Fatalf("%d enactments for %d nodes", len(d.Enactments), len(in.Nodes))
	}
	for i := range d.Enactments {
		if in.Intent != intent.Hold || rollout.PhaseOf(in.Nodes[i].Enactment) != "" {
			complete(t, &d.Enactments[i])
		}
	}
	again := rollout.Decide(next(in, d))
	if !reflect.DeepEqual(again, d) {
		t.Fatalf("a second decision on the same input differs: %s", cmp.Diff(d, again))
	}
	return d
}

// complete checks that an enactment has all its parts.
func complete(t *testing.T, e *v1alpha1.ControlPlaneNodeEnactment) {
	t.Helper()
	is := 0
	for _, p := range phases {
		c := meta.FindStatusCondition(e.Status.Conditions, p)
		if c == nil || c.Reason == "" || c.LastTransitionTime.IsZero() {
			t.Fatalf("a condition is missing, or has no reason or time: %s: %v", p, c)
		}
		if c.Status == metav1.ConditionTrue {
			is++
			if c.Message == "" {
				t.Fatalf("no message for %s/%s", p, c.Reason)
			}
		}
	}
	if is != 1 {
		t.Fatalf("a node is not in exactly one phase: %v", e.Status.Conditions)
	}
	rolledBack := reflect.DeepEqual(phasesOf([]v1alpha1.ControlPlaneNodeEnactment{*e}), []string{"Reverted/RolledBack"}) // whatever ruleset is called for
	if e.Labels[v1alpha1.LabelPolicy] != "p" || len(e.OwnerReferences) != 1 || e.Status.Ruleset == "" && !rolledBack {
		t.Fatalf("the label, the owner or the ruleset is missing: %+v", e)
	}
}
