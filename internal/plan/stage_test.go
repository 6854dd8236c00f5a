// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// etcd restricts etcd to the control plane, with or without failsafe ports.
func etcd(p *v1alpha1.ControlPlaneNetworkPolicy) {
	p.Spec.Profile = v1alpha1.Profile{Distribution: "kubeadm", CNI: "calico", APIServerPorts: []v1alpha1.PortNumber{6443}}
	p.Spec.Network = &v1alpha1.NetworkSpec{
		Failsafe:   v1alpha1.FailsafeScope,
		Components: []v1alpha1.Component{{Name: "etcd", AllowFrom: []v1alpha1.PeerReference{{Role: "ControlPlane"}}}},
	}
}

// machine is a node with addresses. It is of the control plane unless its name says worker.
func machine(name string, addresses ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if !strings.HasPrefix(name, "worker") {
		n.Labels = map[string]string{controlPlane: ""}
	}
	for _, address := range addresses {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: address})
	}
	return n
}

// machines are the nodes of a cluster with Calico.
func machines(nodes ...*corev1.Node) state.Snapshot {
	return state.Snapshot{Nodes: nodes, Backend: calico.Live{Mode: calico.Native}}
}

// enacted is an enactment: a phase, and the version that the node is rolled
// back to. The declared rules have the version "new".
func enacted(policy, node, phase, previous string) v1alpha1.ControlPlaneNodeEnactment {
	return v1alpha1.ControlPlaneNodeEnactment{
		Spec: v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: policy, Node: node},
		Status: v1alpha1.ControlPlaneNodeEnactmentStatus{
			Conditions: []metav1.Condition{{Type: phase, Status: metav1.ConditionTrue}}, Ruleset: "new", PreviousRuleset: previous,
		},
	}
}

// withRules makes an enactment of other rules than the declared ones.
func withRules(e v1alpha1.ControlPlaneNodeEnactment, version string) []v1alpha1.ControlPlaneNodeEnactment {
	e.Status.Ruleset = version
	return []v1alpha1.ControlPlaneNodeEnactment{e}
}

// inScoping scopes the failsafe ports of a node, or has them being scoped.
func inScoping(e v1alpha1.ControlPlaneNodeEnactment) v1alpha1.ControlPlaneNodeEnactment {
	e.Status.FailsafesScopedTime = &metav1.Time{Time: time.Unix(1, 0)}
	return e
}

// wasScoped has scoped failsafe ports of nodes for their previous rules.
func wasScoped(enactments []v1alpha1.ControlPlaneNodeEnactment) []v1alpha1.ControlPlaneNodeEnactment {
	for i := range enactments {
		enactments[i].Status.PreviousFailsafesScopedTime = &metav1.Time{Time: time.Unix(1, 0)}
	}
	return enactments
}

// scopedFor is a node's Felix configuration with scoped failsafe ports, for rules of a version.
func scopedFor(policy, node, version string) v3.FelixConfiguration {
	return v3.FelixConfiguration{
		ObjectMeta: metav1.ObjectMeta{
			Name: "node." + node, Labels: map[string]string{v1alpha1.LabelPolicy: policy, calico.LabelVersion: version},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: v1alpha1.FieldManagerNetwork}},
		},
		Spec: v3.FelixConfigurationSpec{FailsafeInboundHostPorts: &[]v3.ProtoPort{}},
	}
}

// endpointWith is an endpoint of the operator's with rules of a version.
func endpointWith(policy, node, version string) v3.HostEndpoint {
	return v3.HostEndpoint{
		ObjectMeta: metav1.ObjectMeta{
			Name: "cpnp-" + node, Labels: map[string]string{v1alpha1.LabelPolicy: policy, calico.LabelVersion: version},
		},
		Spec: v3.HostEndpointSpec{Node: node, InterfaceName: "*"},
	}
}

// protect plans the only policy. Enactments that name the version "new" get the version of the rendered rules.
func protect(t *testing.T, snapshot state.Snapshot, edits ...edit) plan.Hosts {
	t.Helper()
	g := NewWithT(t)
	policies := compile(policy("p", slices.Concat([]edit{etcd}, edits)...))
	protection := func(s state.Snapshot) plan.Hosts { return plan.HostProtection(&policies[0], policies, s) }
	version := protection(machines(snapshot.Nodes...)).Whole.Version
	snapshot.Enactments = slices.Clone(snapshot.Enactments)
	for i := range snapshot.Enactments {
		status := &snapshot.Enactments[i].Status
		for _, v := range []*string{&status.Ruleset, &status.PreviousRuleset} {
			if *v == "new" {
				*v = version
			}
		}
	}
	hosts := protection(snapshot)
	g.Expect(hosts.Unprotected).To(BeNil())
	g.Expect(hosts.Held).To(BeEmpty())
	g.Expect(hosts.Whole.Version).To(Equal(version), "the progress of nodes does not change the declared rules")
	return hosts
}

// onNode returns what objects give a node: the version of its rules, and whether its failsafe ports are scoped.
func onNode(objects []plan.Object, name, current string) string {
	version, scoped := "none", ""
	for _, object := range objects {
		switch o := object.(type) {
		case *v3.HostEndpoint:
			if o.Spec.Node == name {
				version = strings.Replace(o.Labels[calico.LabelVersion], current, "new", 1)
			}
		case *v3.FelixConfiguration:
			if o.Name == "node."+name {
				scoped = " scoped"
			}
		}
	}
	return version + scoped
}

// changes tells whether a live object that the operator wrote for p is changed or removed.
func changes(hosts plan.Hosts, live plan.Object) bool {
	diff := diffOf(hosts, live)
	return slices.ContainsFunc(slices.Concat(diff.Writes, diff.Removals), func(w drift.Write) bool {
		return w.Object == drift.ObjectOf(live)
	})
}

// diffOf is the difference for p where the object is the only live one.
func diffOf(hosts plan.Hosts, live plan.Object) drift.Diff {
	live = live.DeepCopyObject().(plan.Object)
	live.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: v1alpha1.FieldManagerNetwork}})
	if live.GetLabels()[v1alpha1.LabelPolicy] == "" {
		labels := maps.Clone(live.GetLabels())
		if labels == nil {
			labels = map[string]string{}
		}
		labels[v1alpha1.LabelPolicy] = "p"
		live.SetLabels(labels)
	}
	there := calico.Live{Mode: calico.Native}
	switch o := live.(type) {
	case *v3.HostEndpoint:
		there.Endpoints = []v3.HostEndpoint{*o}
	case *v3.FelixConfiguration:
		there.Felix = []v3.FelixConfiguration{*o}
	case *v3.GlobalNetworkPolicy:
		there.Policies = []v3.GlobalNetworkPolicy{*o}
	case *v3.GlobalNetworkSet:
		there.Sets = []v3.GlobalNetworkSet{*o}
	}
	policies := compile(policy("p", etcd))
	return drift.CompareHosts(&policies[0], policies, hosts, there)
}

// copied are objects that somebody restored, or applied by hand, with the operator's labels.
func copied(configurations []v3.FelixConfiguration) []v3.FelixConfiguration {
	for i := range configurations {
		configurations[i].ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	}
	return configurations
}

func TestNodeGetsTheRulesetOfItsEnactment(t *testing.T) {
	const pending, progressing, enforced = v1alpha1.PhasePending, v1alpha1.PhaseProgressing, v1alpha1.PhaseEnforced
	mine := func(phase, previous string) []v1alpha1.ControlPlaneNodeEnactment {
		return []v1alpha1.ControlPlaneNodeEnactment{enacted("p", "cp-1", phase, previous)}
	}
	scopedNow := func(phase, previous string) []v1alpha1.ControlPlaneNodeEnactment {
		return []v1alpha1.ControlPlaneNodeEnactment{inScoping(enacted("p", "cp-1", phase, previous))}
	}
	scoped := func(policy, node string) []v3.FelixConfiguration {
		return []v3.FelixConfiguration{scopedFor(policy, node, "old")}
	}
	tests := map[string]struct {
		enactments []v1alpha1.ControlPlaneNodeEnactment
		felix      []v3.FelixConfiguration
		edits      []edit
		want       string
		older      []string
		widened    bool
		keeps      bool // whether failsafe ports that are scoped for older rules stay
		stays      bool // whether every live object stays
	}{
		"The node has no enactment":                {want: "none", keeps: true, stays: true},
		"The node has no enactment, and has rules": {want: "none", older: []string{"old"}, keeps: true, stays: true},
		"The node has no phase yet":                {enactments: mine("", "old"), want: "none", older: []string{"old"}, keeps: true, stays: true},
		"The node is pending":                      {enactments: mine(pending, ""), want: "none"},
		"The node is pending with older rules":     {enactments: mine(pending, "old"), want: "old", older: []string{"old"}},
		"The node is pending with older rules, and was scoped": {
			enactments: wasScoped(mine(pending, "old")), felix: scoped("p", "cp-1"), want: "old", older: []string{"old"}, keeps: true,
		},
		"The node is pending with older rules, and scoping was on trial": {
			enactments: mine(pending, "old"), felix: scoped("p", "cp-1"), want: "old", older: []string{"old"},
		},
		"The node was aborted with older rules, and was scoped": {
			enactments: wasScoped(mine(v1alpha1.PhaseAborted, "old")), want: "old", older: []string{"old"}, keeps: true,
		},
		"The node is pending with the declared rules, and was scoped": {enactments: wasScoped(mine(pending, "new")), want: "new scoped"},
		"The node is pending with the declared rules, and was open":   {enactments: mine(pending, "new"), want: "new"},
		"The node is in flight":                               {enactments: mine(progressing, ""), want: "new"},
		"The node is in flight with new rules for older ones": {enactments: mine(progressing, "old"), want: "new", older: []string{"old"}},
		"The node is about to be tried, and its failsafe ports are opened first": {
			enactments: mine(progressing, "old"), felix: scoped("p", "cp-1"), want: "old", older: []string{"old"}, widened: true,
		},
		"The failsafe ports were scoped by a policy that no longer exists": {
			enactments: mine(progressing, "old"), felix: scoped("q", "cp-1"), want: "old", older: []string{"old"}, widened: true,
		},
		"The node has no rules yet, and its failsafe ports were scoped by a policy that no longer exists": {enactments: mine(progressing, ""), felix: scoped("q", "cp-1"), want: "none", widened: true},
		"The failsafe ports were scoped by somebody else":                                                 {enactments: mine(progressing, "old"), felix: scoped("", "cp-1"), want: "new", older: []string{"old"}},
		"The configuration that scopes the failsafe ports is a copy":                                      {enactments: mine(progressing, "old"), felix: copied(scoped("p", "cp-1")), want: "new", older: []string{"old"}},
		"Another node has scoped failsafe ports":                                                          {enactments: mine(progressing, "old"), felix: scoped("p", "cp-2"), want: "new", older: []string{"old"}},
		"The failsafe ports were scoped without rules":                                                    {enactments: mine(progressing, ""), felix: scoped("p", "cp-1"), want: "none", widened: true},
		"The node is in flight, and rules that it never got are no longer declared": {
			enactments: withRules(enacted("p", "cp-1", progressing, "old"), "superseded"), want: "none", older: []string{"old"}, keeps: true, stays: true,
		},
		"The node is in flight, and rules that it got are no longer declared": {
			enactments: withRules(enacted("p", "cp-1", progressing, ""), "old"), want: "old", older: []string{"old"},
		},
		"The node is in flight with scoped failsafe ports": {
			enactments: scopedNow(progressing, "old"), felix: scoped("p", "cp-1"), want: "new scoped", older: []string{"old"},
		},
		"The node is in flight with scoped failsafe ports, and had no rules": {enactments: scopedNow(progressing, ""), want: "new scoped"},
		"The node is enforced": {enactments: scopedNow(enforced, "old"), want: "new scoped"},
		"The node is enforced, and scoped failsafe ports were never tried": {enactments: mine(enforced, "old"), want: "new"},
		"The node failed with scoped failsafe ports":                       {enactments: scopedNow(v1alpha1.PhaseReverted, "old"), want: "old", older: []string{"old"}},
		"The node failed with scoped failsafe ports, and had no rules":     {enactments: scopedNow(v1alpha1.PhaseReverted, ""), want: "none"},
		"The node was rolled back":                                         {enactments: mine(v1alpha1.PhaseReverted, ""), want: "none"},
		"The node was rolled back to older rules":                          {enactments: mine(v1alpha1.PhaseReverted, "old"), want: "old", older: []string{"old"}},
		"The node was aborted with older rules":                            {enactments: mine(v1alpha1.PhaseAborted, "old"), want: "old", older: []string{"old"}},
		"The node is enforced by another policy":                           {enactments: []v1alpha1.ControlPlaneNodeEnactment{enacted("q", "cp-1", enforced, "")}, want: "none", keeps: true, stays: true},
		"The policy is in mode Audit: all objects are shown":               {enactments: mine(pending, "old"), edits: []edit{audits}, want: "new scoped"},
		"The policy is suspended: all objects are shown":                   {enactments: mine(v1alpha1.PhaseReverted, ""), edits: []edit{suspend}, want: "new scoped"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			snapshot := machines(machine("cp-1", "10.0.0.1"), machine("cp-2", "10.0.0.2"))
			snapshot.Enactments = test.enactments
			calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Felix = test.felix })
			if test.older != nil {
				calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Endpoints = []v3.HostEndpoint{endpointWith("p", "cp-1", "old")} })
			}
			hosts := protect(t, snapshot, test.edits...)
			g.Expect(onNode(hosts.Objects, "cp-1", hosts.Whole.Version)).To(Equal(test.want))
			g.Expect(onNode(hosts.WholeObjects, "cp-1", hosts.Whole.Version)).To(Equal("new scoped"), "at the end of the rollout")
			g.Expect(hosts.Whole.Nodes).To(HaveEach(HaveField("Ruleset", rollout.Ruleset{Version: hosts.Whole.Version, FailsafesScoped: true})))
			g.Expect(sets.List(hosts.VersionsInUse.Clone().Delete("", hosts.Whole.Version))).To(HaveExactElements(test.older), "older versions that stay")
			endpoint, felix, tried := endpointWith("p", "cp-1", "old"), scopedFor("p", "cp-1", "old"), scopedFor("p", "cp-1", hosts.Whole.Version)
			g.Expect(changes(hosts, &endpoint)).To(Equal(!test.stays), "an endpoint that is not called for")
			g.Expect(changes(hosts, &felix)).To(Equal(!test.keeps), "the present Felix configuration")
			g.Expect(changes(hosts, &tried)).To(Equal(!test.stays), "failsafe ports that are scoped for the new rules")
			ofDeletedPolicy := scopedFor("q", "cp-1", "old")
			g.Expect(diffOf(hosts, &ofDeletedPolicy).Removals).To(HaveLen(map[bool]int{true: 1}[test.widened]))
		})
	}
}

func TestObjectsThatOlderRulesNeedStay(t *testing.T) {
	g := NewWithT(t)
	snapshot := machines(machine("cp-1", "10.0.0.1"), machine("cp-2", "10.0.0.2"), machine("cp-3", "10.0.0.3"), machine("cp-4", "10.0.0.4"))
	snapshot.Enactments = []v1alpha1.ControlPlaneNodeEnactment{
		inScoping(enacted("p", "cp-1", v1alpha1.PhaseEnforced, "overcome")),
		enacted("p", "cp-2", v1alpha1.PhaseProgressing, "fallback"),
		wasScoped([]v1alpha1.ControlPlaneNodeEnactment{enacted("p", "cp-3", v1alpha1.PhasePending, "waiting")})[0],
	}
	calicotest.Edit(&snapshot.Backend, func(c *calico.Live) {
		c.Endpoints = []v3.HostEndpoint{
			endpointWith("p", "cp-4", "live"), endpointWith("p", "gone", "left"), endpointWith("q", "cp-4", "theirs"),
		}
	})
	hosts := protect(t, snapshot)
	policy := func(version string) plan.Object {
		return &v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{calico.LabelVersion: version}}}
	}
	set := func(name string) plan.Object {
		return &v3.GlobalNetworkSet{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{calico.LabelPeer: name}}}
	}
	felix := func(node, version string) plan.Object { f := scopedFor("p", node, version); return &f }
	tests := map[string]struct {
		object plan.Object
		want   bool
	}{
		"A policy of rules that a pending node has":                {policy("waiting"), true},
		"A policy of rules that a node is rolled back to":          {policy("fallback"), true},
		"A policy of rules that a live endpoint has":               {policy("live"), true},
		"A policy of rules on the endpoint of a deleted node":      {policy("left"), true},
		"A policy of rules that a node does not return to":         {policy("overcome"), false},
		"A policy of rules that no node has":                       {policy("unknown"), false},
		"A policy of rules of another owner":                       {policy("theirs"), false},
		"A policy of the declared rules":                           {policy(hosts.Whole.Version), false},
		"A policy without a version":                               {&v3.GlobalNetworkPolicy{}, false},
		"A set that only older rules need":                         {set("pods"), true},
		"A set that the new rules have, with other content":        {set("control-plane"), false},
		"The Felix configuration of a node with older rules":       {felix("cp-3", "waiting"), true},
		"The Felix configuration of other rules than the node has": {felix("cp-3", "unknown"), false},
		"The Felix configuration of a node with new rules":         {felix("cp-2", "fallback"), false},
		"The Felix configuration of a deleted node":                {felix("gone", "left"), false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { NewWithT(t).Expect(changes(hosts, test.object)).To(Equal(!test.want)) })
	}

	done := machines(machine("cp-1", "10.0.0.1"))
	done.Enactments = []v1alpha1.ControlPlaneNodeEnactment{enacted("p", "cp-1", v1alpha1.PhaseEnforced, "")}
	through := protect(t, done)
	g.Expect(changes(through, set("pods"))).To(BeTrue(), "once no node has older rules")
	audited := protect(t, snapshot, audits)
	g.Expect(changes(audited, policy("waiting"))).To(BeTrue(), "nothing is kept for objects that are only shown")
}

// nobodyAdministers makes a policy that cannot be rendered: it would deny everybody access to the API server.
func nobodyAdministers(p *v1alpha1.ControlPlaneNetworkPolicy) {
	p.Spec.Network.Unlisted = v1alpha1.UnlistedDeny
}

// unheardOf makes a policy whose ports are unknown.
func unheardOf(p *v1alpha1.ControlPlaneNetworkPolicy) {
	p.Spec.Profile = v1alpha1.Profile{Distribution: "Auto", CNI: "Auto"}
}

func TestNodesInFlightAreRolledBackWhileThePolicyCannotBeRendered(t *testing.T) {
	const none = "none"
	onEth1 := endpointWith("p", "cp-1", "old")
	onEth1.Name, onEth1.Labels[calico.LabelInterface] = "cpnp-cp-1-eth1", "eth1"
	tests := map[string]struct {
		phase, previous string
		there           []v3.HostEndpoint
		want            string // the version that the node's endpoint gets
		goes            bool
		edits           []edit
	}{
		"The node is pending again, and had no rules":         {phase: v1alpha1.PhasePending, there: []v3.HostEndpoint{endpointWith("p", "cp-1", "new")}, want: none, goes: true},
		"The node is pending again, and had older rules":      {phase: v1alpha1.PhasePending, previous: "old", there: []v3.HostEndpoint{endpointWith("p", "cp-1", "new")}, want: "old", goes: true},
		"The node still has the older rules on one interface": {phase: v1alpha1.PhasePending, previous: "old", there: []v3.HostEndpoint{endpointWith("p", "cp-1", "new"), onEth1}, want: "old", goes: true},
		"The node was reverted just before":                   {phase: v1alpha1.PhaseReverted, there: []v3.HostEndpoint{endpointWith("p", "cp-1", "new")}, want: none, goes: true},
		"The node was aborted just before":                    {phase: v1alpha1.PhaseAborted, previous: "old", there: []v3.HostEndpoint{endpointWith("p", "cp-1", "new")}, want: "old", goes: true},
		"The node is rolled back":                             {phase: v1alpha1.PhasePending, previous: "old", there: []v3.HostEndpoint{endpointWith("p", "cp-1", "old")}, want: none},
		"The node never had rules":                            {phase: v1alpha1.PhasePending, want: none},
		"The node is enforced":                                {phase: v1alpha1.PhaseEnforced, previous: "old", there: []v3.HostEndpoint{endpointWith("p", "cp-1", "other")}, want: none},
		"The node is in flight, and its enactment has no other ruleset": {
			phase: v1alpha1.PhaseProgressing, previous: "old", there: []v3.HostEndpoint{endpointWith("p", "cp-1", "old")}, want: none,
		},
		"The enactment has no status yet":   {phase: "", there: []v3.HostEndpoint{endpointWith("p", "cp-1", "new")}, want: none},
		"The endpoint is of another policy": {phase: v1alpha1.PhasePending, there: []v3.HostEndpoint{endpointWith("q", "cp-1", "new")}, want: none},
		"The endpoint is of another node":   {phase: v1alpha1.PhasePending, there: []v3.HostEndpoint{endpointWith("p", "cp-2", "new")}, want: none},
		"The policy is suspended":           {phase: v1alpha1.PhasePending, there: []v3.HostEndpoint{endpointWith("p", "cp-1", "new")}, want: none, edits: []edit{suspend}},
		"The live objects are unknown":      {phase: v1alpha1.PhasePending, previous: "old", there: []v3.HostEndpoint{endpointWith("p", "cp-1", "new")}, want: "old", goes: true, edits: []edit{unheardOf}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			snapshot := machines(machine("cp-1", "10.0.0.1"), machine("cp-2", "10.0.0.2"))
			calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Endpoints = test.there })
			snapshot.Enactments = wasScoped([]v1alpha1.ControlPlaneNodeEnactment{enacted("p", "cp-1", test.phase, test.previous)})
			policies := compile(policy("p", slices.Concat([]edit{etcd, nobodyAdministers}, test.edits)...))
			hosts := plan.HostProtection(&policies[0], policies, snapshot)
			g.Expect(hosts.Held).NotTo(BeEmpty())
			g.Expect(hosts.Rendered()).To(BeFalse())
			g.Expect(onNode(hosts.Objects, "cp-1", "new")).To(Equal(test.want))
			g.Expect(onNode(hosts.Objects, "cp-2", "new")).To(Equal(none))
			for i := range test.there {
				g.Expect(changes(hosts, &test.there[i])).To(Equal(test.goes), "the present endpoint")
			}
			g.Expect(changes(hosts, &v3.GlobalNetworkPolicy{})).To(BeFalse(), "policies stay")
			tried, had := scopedFor("p", "cp-1", "tried"), scopedFor("p", "cp-1", test.previous)
			stays := slices.Contains([]string{"", v1alpha1.PhaseProgressing, v1alpha1.PhaseEnforced}, test.phase) || test.edits != nil && !test.goes
			g.Expect(changes(hosts, &tried)).To(Equal(!stays), "failsafe ports that are scoped for the new rules")
			g.Expect(changes(hosts, &had)).To(Equal(!stays && test.previous == ""), "failsafe ports as before")
			if len(test.there) == 2 {
				g.Expect(hosts.Objects).To(HaveLen(1))
				g.Expect(hosts.Objects[0].GetName()).To(Equal(onEth1.Name), "only on the interface that has older rules")
			}
		})
	}
}

// Written objects are removed only on a declared change: not where a selector
// cannot be read, or where the profile suddenly shows a cluster without such nodes.
func TestWrittenObjectsStayWithoutADeclaredChange(t *testing.T) {
	network := func(change func(*v1alpha1.NetworkSpec)) edit {
		return func(p *v1alpha1.ControlPlaneNetworkPolicy) { change(p.Spec.Network) }
	}
	unreadable := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.NodeSelector.MatchLabels = map[string]v1alpha1.LabelValue{"not a label": ""}
	}
	for name, test := range map[string]struct {
		edits []edit
		stays bool
	}{
		"The policy is as declared":           {nil, false},
		"The selector of nodes is unreadable": {[]edit{unreadable}, true},
		"The provider runs the control plane": {[]edit{func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.Profile.Distribution = "managed" }}, true},
		"The policy cannot be rendered":       {[]edit{nobodyAdministers}, true},
		"Hosts are no longer to be protected": {[]edit{network(func(n *v1alpha1.NetworkSpec) { n.HostBackend = v1alpha1.HostBackendNone })}, false},
		"No component on hosts is declared":   {[]edit{network(func(n *v1alpha1.NetworkSpec) { n.Components = nil })}, false},
		"The policy is rolled back": {[]edit{unreadable, func(p *v1alpha1.ControlPlaneNetworkPolicy) {
			p.Annotations = map[string]string{v1alpha1.AnnotationRevert: "paged"}
		}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			snapshot := machines(machine("cp-1", "10.0.0.1"), machine("cp-2", "10.0.0.2"))
			calicotest.Edit(&snapshot.Backend, func(c *calico.Live) {
				c.Endpoints = []v3.HostEndpoint{endpointWith("p", "cp-1", "had"), endpointWith("p", "cp-2", "tried")}
			})
			snapshot.Enactments = []v1alpha1.ControlPlaneNodeEnactment{
				enacted("p", "cp-1", v1alpha1.PhaseEnforced, ""), enacted("p", "cp-2", v1alpha1.PhasePending, "had"),
			}
			policies := compile(policy("p", slices.Concat([]edit{etcd}, test.edits)...))
			hosts := plan.HostProtection(&policies[0], policies, snapshot)
			g.Expect(hosts.Intent == intent.Hold).To(Equal(test.stays))
			if test.stays {
				g.Expect(onNode(hosts.Objects, "cp-1", "-")).To(Equal("none"), "the node is left alone")
				g.Expect(onNode(hosts.Objects, "cp-2", "-")).To(Equal("had"), "the node was in flight")
			}
		})
	}
}

// Failsafe ports whose scoping was on trial are opened, even if the rules
// stay. Failsafe ports that were scoped before stay scoped.
func TestScopedFailsafePortsOnTrialAreOpenedWhereTheRulesStay(t *testing.T) {
	for name, scoped := range map[string]bool{"being tried": false, "as before": true} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			snapshot := machines(machine("cp-1", "10.0.0.1"))
			calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Endpoints = []v3.HostEndpoint{endpointWith("p", "cp-1", "same")} })
			snapshot.Enactments = []v1alpha1.ControlPlaneNodeEnactment{enacted("p", "cp-1", v1alpha1.PhasePending, "same")}
			snapshot.Enactments[0].Status.Ruleset = "same"
			if scoped {
				wasScoped(snapshot.Enactments)
			}
			policies := compile(policy("p", etcd, nobodyAdministers))
			hosts := plan.HostProtection(&policies[0], policies, snapshot)
			felix := scopedFor("p", "cp-1", "same")
			g.Expect(changes(hosts, &felix)).To(Equal(!scoped))
			g.Expect(hosts.Objects).To(BeEmpty(), "the endpoint stays")
		})
	}
}

// A named endpoint takes precedence over the endpoint of every interface. During a trial no
// interface keeps older rules, and after a failure each interface gets its older rules again.
func TestInterfacesOfATrial(t *testing.T) {
	const pending, progressing, enforced, reverted = v1alpha1.PhasePending, v1alpha1.PhaseProgressing, v1alpha1.PhaseEnforced, v1alpha1.PhaseReverted
	on := func(iface, version string) v3.HostEndpoint {
		e := endpointWith("p", "cp-1", version)
		if iface != "*" {
			e.Name, e.Labels[calico.LabelInterface], e.Spec.InterfaceName = "cpnp-cp-1-"+iface, iface, iface
		}
		return e
	}
	rules := func(version string, interfaces ...string) []v3.GlobalNetworkPolicy {
		var out []v3.GlobalNetworkPolicy
		for _, iface := range interfaces {
			p := v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelPolicy: "p", calico.LabelVersion: version}}}
			if iface != "*" {
				p.Labels[calico.LabelInterface] = iface
			}
			out = append(out, p)
		}
		order := 20.0
		required := v3.GlobalNetworkPolicy{Spec: v3.GlobalNetworkPolicySpec{Order: &order}}
		required.Labels = map[string]string{v1alpha1.LabelPolicy: "p", calico.LabelVersion: version}
		return append(out, required)
	}
	onEth2 := func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Network.Components[0].Name, p.Spec.Network.Components[0].Interface = "scheduler", "eth2"
	}
	for name, test := range map[string]struct {
		phase  string
		there  []v3.HostEndpoint
		rules  []v3.GlobalNetworkPolicy
		onEth2 bool
		want   []string // interface and version
	}{
		"In flight, without an endpoint per interface": {phase: progressing, there: []v3.HostEndpoint{on("eth1", "old")}, rules: rules("old", "eth1"),
			want: []string{"* new", "eth1 new"}},
		"In flight, with an endpoint per interface": {phase: progressing, there: []v3.HostEndpoint{on("*", "old")}, rules: rules("old", "*"), onEth2: true,
			want: []string{"* new", "eth2 new"}},
		"In flight, with an endpoint of another interface": {phase: progressing, there: []v3.HostEndpoint{on("eth1", "old")}, rules: rules("old", "eth1"), onEth2: true,
			want: []string{"eth1 new", "eth2 new"}},
		"Enforced": {phase: enforced, there: []v3.HostEndpoint{on("*", "new"), on("eth1", "new")}, want: []string{"* new"}},
		"Failed, rolled back to an endpoint per interface": {phase: reverted, there: []v3.HostEndpoint{on("*", "new"), on("eth1", "new")}, rules: rules("old", "eth1"),
			want: []string{"eth1 old"}},
		"Failed, rolled back to the endpoint of every interface": {phase: reverted, there: []v3.HostEndpoint{on("*", "new"), on("eth2", "new")}, rules: rules("old", "*"), onEth2: true,
			want: []string{"* old"}},
		"Failed half-way": {phase: reverted, there: []v3.HostEndpoint{on("*", "new"), on("eth1", "old")}, rules: rules("old", "*", "eth1"),
			want: []string{"* old", "eth1 old"}},
		"Failed, and the older rules were deleted": {phase: reverted, there: []v3.HostEndpoint{on("*", "new"), on("eth1", "new")},
			want: []string{"* old", "eth1 old"}},
		"Pending with older rules of which some were deleted": {phase: pending, there: []v3.HostEndpoint{on("*", "old"), on("eth1", "old")}, rules: rules("old", "eth1"),
			want: []string{"* old", "eth1 old"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			snapshot := machines(machine("cp-1", "10.0.0.1"))
			calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Endpoints, c.Policies = test.there, test.rules })
			snapshot.Enactments = []v1alpha1.ControlPlaneNodeEnactment{enacted("p", "cp-1", test.phase, "old")}
			var edits []edit
			if test.onEth2 {
				edits = append(edits, onEth2)
			}
			hosts := protect(t, snapshot, edits...)
			got := endpointsIn(hosts)
			g.Expect(got).To(ConsistOf(test.want))
			g.Expect(slices.IndexFunc(got, func(e string) bool { return e[0] == '*' })).To(BeElementOf(-1, len(got)-1), "the endpoint of every interface is the last one")
			for i, e := range test.there {
				name := e.Spec.InterfaceName + " " + e.Labels[calico.LabelVersion]
				g.Expect(changes(hosts, &test.there[i]) || slices.Contains(test.want, name)).To(BeTrue(), "an endpoint that is not called for: %s", name)
			}
		})
	}
}

func TestEnactmentIsOfThePolicyAndTheNode(t *testing.T) {
	g := NewWithT(t)
	there := []v1alpha1.ControlPlaneNodeEnactment{
		enacted("p", "cp-1", v1alpha1.PhasePending, ""), enacted("q", "cp-2", v1alpha1.PhasePending, ""), enacted("p", "cp-2", v1alpha1.PhasePending, ""),
	}
	g.Expect(plan.EnactmentOf("p", "cp-2", there)).To(BeIdenticalTo(&there[2]))
	g.Expect(plan.EnactmentOf("q", "cp-1", there)).To(BeNil())
	g.Expect(plan.EnactmentOf("p", "cp-1", nil)).To(BeNil())
}

func TestRulesThatAreTheSameAreRenderedTheSame(t *testing.T) {
	g := NewWithT(t)
	snapshot := machines(machine("cp-1", "10.0.0.1"), machine("cp-2", "10.0.0.2"))
	snapshot.Enactments = []v1alpha1.ControlPlaneNodeEnactment{
		inScoping(enacted("p", "cp-1", v1alpha1.PhaseEnforced, "")), inScoping(enacted("p", "cp-2", v1alpha1.PhaseEnforced, "")),
	}
	hosts := protect(t, snapshot)
	g.Expect(hosts.Objects).To(Equal(hosts.WholeObjects))
	snapshot.Enactments[1] = enacted("p", "cp-2", v1alpha1.PhaseProgressing, "")
	hosts = protect(t, snapshot)
	g.Expect(onNode(hosts.Objects, "cp-1", hosts.Whole.Version)).To(Equal("new scoped"))
	g.Expect(onNode(hosts.Objects, "cp-2", hosts.Whole.Version)).To(Equal("new"), "the other node is still in flight")
}

func TestRulesAreEstablishedOnceANodeCallsForThem(t *testing.T) {
	g := NewWithT(t)
	snapshot := machines(machine("cp-1", "10.0.0.1"), machine("cp-2", "10.0.0.2"))
	snapshot.Enactments = []v1alpha1.ControlPlaneNodeEnactment{
		enacted("p", "cp-1", v1alpha1.PhasePending, "old"), enacted("p", "cp-2", v1alpha1.PhasePending, ""),
	}
	waiting := protect(t, snapshot)
	g.Expect(sets.List(waiting.VersionsInUse)).To(Equal([]string{"", "old"}))
	snapshot.Enactments[1] = enacted("p", "cp-2", v1alpha1.PhaseEnforced, "")
	done := protect(t, snapshot)
	g.Expect(done.VersionsInUse).To(HaveKey(done.Whole.Version))
}

// A foreign endpoint in the place of a managed one keeps the new rules away.
// The rules on other interfaces of the node stay.
func TestANodeKeepsItsRulesWhereAForeignEndpointBlocksNewOnes(t *testing.T) {
	onEth1 := func(version string) v3.HostEndpoint {
		e := endpointWith("p", "cp-1", version)
		e.Name, e.Labels[calico.LabelInterface], e.Spec.InterfaceName = "cpnp-cp-1-eth1", "eth1", "eth1"
		return e
	}
	theirs := v3.HostEndpoint{ObjectMeta: metav1.ObjectMeta{Name: "cp-1-auto-hep"}, Spec: v3.HostEndpointSpec{Node: "cp-1", InterfaceName: "*"}}
	done := enacted("p", "cp-1", v1alpha1.PhaseEnforced, "")
	done.Status.Ruleset = "old"
	for name, test := range map[string]struct {
		enactment v1alpha1.ControlPlaneNodeEnactment
		there     []v3.HostEndpoint
		want      []string
	}{
		"The node is pending":  {enacted("p", "cp-1", v1alpha1.PhasePending, "old"), []v3.HostEndpoint{onEth1("old"), theirs}, []string{"eth1 old"}},
		"The node was aborted": {enacted("p", "cp-1", v1alpha1.PhaseAborted, "old"), []v3.HostEndpoint{onEth1("old"), theirs}, []string{"eth1 old"}},
		"The node is enforced, and its interface is a new one": {done, []v3.HostEndpoint{onEth1("old"), theirs}, []string{"eth1 old"}},
		"The node has lost its rules":                          {enacted("p", "cp-1", v1alpha1.PhasePending, "old"), []v3.HostEndpoint{theirs}, nil},
		"The node never had rules":                             {enacted("p", "cp-1", v1alpha1.PhasePending, ""), []v3.HostEndpoint{theirs}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			snapshot := machines(machine("cp-1", "10.0.0.1"))
			calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Endpoints = test.there })
			snapshot.Enactments = []v1alpha1.ControlPlaneNodeEnactment{test.enactment}
			hosts := protect(t, snapshot)
			g.Expect(hosts.Foreign).To(HaveKey("cp-1"))
			g.Expect(endpointsIn(hosts)).To(Equal(test.want))
		})
	}
}

// endpointsIn returns the interfaces of endpoints, each with the version of its rules.
func endpointsIn(hosts plan.Hosts) []string {
	var out []string
	for _, object := range hosts.Objects {
		if e, is := object.(*v3.HostEndpoint); is {
			version := e.Labels[calico.LabelVersion]
			if version == hosts.Whole.Version {
				version = "new"
			}
			out = append(out, e.Spec.InterfaceName+" "+version)
		}
	}
	return out
}

// On a node that is no longer selected, rules on trial are removed.
// Rolled-back rules are not written beside a foreign endpoint.
func TestRollBackWhereADeletedPolicyOrphansItsRules(t *testing.T) {
	g := NewWithT(t)
	snapshot := machines(machine("cp-1", "10.0.0.1"))
	onEth1 := v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{
		Labels: map[string]string{v1alpha1.LabelPolicy: "p", calico.LabelVersion: "old", calico.LabelInterface: "eth1"},
	}}
	every := *onEth1.DeepCopy()
	delete(every.Labels, calico.LabelInterface)
	theirs := v3.HostEndpoint{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, Spec: v3.HostEndpointSpec{Node: "cp-1", InterfaceName: "eth1"}}
	calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Policies = []v3.GlobalNetworkPolicy{onEth1, every} })
	calicotest.Edit(&snapshot.Backend, func(c *calico.Live) {
		c.Endpoints = []v3.HostEndpoint{endpointWith("p", "cp-1", "tried"), endpointWith("p", "gone", "tried")}
	})
	snapshot.Enactments = []v1alpha1.ControlPlaneNodeEnactment{
		enacted("p", "cp-1", v1alpha1.PhasePending, "old"), enacted("p", "gone", v1alpha1.PhasePending, "old"),
	}
	policies := compile(policy("p", etcd, deleted, orphans))
	hosts := plan.HostProtection(&policies[0], policies, snapshot)
	g.Expect(hosts.Intent).To(Equal(intent.Hold))
	g.Expect(endpointsIn(hosts)).To(Equal([]string{"eth1 old", "* old"}))
	felix := scopedFor("p", "gone", "old")
	there := calico.Of(snapshot.Backend).Endpoints
	for _, live := range []plan.Object{&there[0], &there[1], &felix} {
		g.Expect(changes(hosts, live)).To(BeTrue())
	}
	calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Endpoints = append(c.Endpoints, theirs) })
	g.Expect(endpointsIn(plan.HostProtection(&policies[0], policies, snapshot))).To(Equal([]string{"* old"}))
}
