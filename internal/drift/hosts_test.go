// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/intent"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// everything has one object of each kind that the operator wrote for policy dns.
func everything(g Gomega) calico.Live {
	ours := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelPolicy: "dns", calico.LabelVersion: "old"}}
	}
	allow, deny := allowing("a-allow", "10.0.0.1/32"), allowing("z-deny")
	allow.Labels[calico.LabelVersion], deny.Labels[calico.LabelVersion] = "old", "old"
	return calico.Live{
		Mode:     calico.Native,
		Tiers:    []v3.Tier{*stampedAs(g, &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: calico.TierName}})},
		Sets:     []v3.GlobalNetworkSet{*stampedAs(g, setOf("nodes-0", "10.0.0.1/32"))},
		Policies: []v3.GlobalNetworkPolicy{*stampedAs(g, allow), *stampedAs(g, deny)},
		Endpoints: []v3.HostEndpoint{*stampedAs(g, &v3.HostEndpoint{
			ObjectMeta: ours("cpnp-cp-1"), Spec: v3.HostEndpointSpec{Node: "cp-1", InterfaceName: "*"},
		})},
		Felix: []v3.FelixConfiguration{*stampedAs(g, &v3.FelixConfiguration{ObjectMeta: ours("node.cp-1")})},
	}
}

func TestRemovalsComeInTheReverseOrderOfWrites(t *testing.T) {
	g := NewWithT(t)
	policies := compile(policy("dns"))
	removals := func(hosts plan.Hosts) []string {
		return steps(g, drift.CompareHosts(&policies[0], policies, hosts, everything(g)).Removals)
	}
	all := removals(plan.Hosts{})
	g.Expect(all[:4]).To(Equal([]string{"delete node.cp-1", "delete cpnp-cp-1", "delete cpnp.dns-z-deny", "delete cpnp.dns-a-allow"}),
		"failsafe ports are widened first, and what denies goes before what allows")
	g.Expect(all[4:]).To(ConsistOf("delete cpnp-dns-nodes-0", "delete cpnp"))

	older := plan.Hosts{
		Objects:       []plan.Object{&v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: calico.TierName}}},
		Targets:       map[string]plan.NodeTarget{"cp-1": {Now: rollout.Ruleset{Version: "old", FailsafesScoped: true}}},
		VersionsInUse: sets.New("", "old"),
	}
	g.Expect(removals(older)).To(Equal([]string{"delete cpnp-cp-1"}), "older rules keep their policies, but an endpoint that is not called for is deleted")
	g.Expect(removals(plan.Hosts{Intent: intent.Hold})).To(BeEmpty(), "nothing is deleted while the policy cannot be rendered")
}

// The policy of a Calico object is found by its label. Where the label was removed, the
// policy is found by the object's name, if no other policy can have written that name.
func TestWhichPolicyOwnsACalicoObject(t *testing.T) {
	g := NewWithT(t)
	stripped := func(object plan.Object) plan.Object {
		object = stampedAs(g, object)
		object.SetLabels(nil)
		return object
	}
	restored := func(object plan.Object) plan.Object {
		object.SetLabels(map[string]string{v1alpha1.LabelPolicy: "prod"})
		g.Expect(plan.Stamp(object)).To(Succeed())
		metav1.SetMetaDataLabel(object.(metav1.ObjectMetaAccessor).GetObjectMeta().(*metav1.ObjectMeta), "projectcalico.org/tier", "cpnp")
		return object
	}
	gnp := func(name string) *v3.GlobalNetworkPolicy {
		return &v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v3.GlobalNetworkPolicySpec{Selector: "all()"}}
	}
	set := func(name string) *v3.GlobalNetworkSet {
		return &v3.GlobalNetworkSet{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	endpoint := func(name, node string) *v3.HostEndpoint {
		return &v3.HostEndpoint{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v3.HostEndpointSpec{Node: node}}
	}
	changed := restored(gnp("cpnp.prod-self")).(*v3.GlobalNetworkPolicy)
	changed.Spec.Selector = "theirs"
	for name, test := range map[string]struct {
		live   plan.Object
		others []string
		ours   bool
	}{
		"a policy that lost its label":                                                {stripped(gnp("cpnp.prod-self")), nil, true},
		"a versioned policy":                                                          {stripped(gnp("cpnp.prod-deny-etcd-0a1b2c3d")), nil, true},
		"a policy of an owner with a longer name":                                     {stripped(gnp("cpnp.prod-edge-self")), nil, false},
		"a policy that may be of an owner with a longer name":                         {stripped(gnp("cpnp.prod-allow-required-0a1b2c3d")), []string{"prod-allow"}, false},
		"a policy that would be of an owner with a longer name, which does not exist": {stripped(gnp("cpnp.prod-allow-required-0a1b2c3d")), []string{"prod-edge"}, true},
		"a foreign policy in the operator's tier":                                     {stripped(gnp("cpnp.prod-mine")), nil, false},
		"a set that lost its label":                                                   {stripped(set("cpnp-prod-control-plane-0")), nil, true},
		"a set of an owner with a longer name":                                        {stripped(set("cpnp-prod-edge-nodes-0")), nil, false},
		"an endpoint whose node name begins with the owner's name":                    {stripped(endpoint("cpnp-prod-1", "prod-1")), nil, false},
		"a policy from a backup, without managed fields":                              {restored(gnp("cpnp.prod-self")), nil, true},
		"an endpoint from a backup":                                                   {restored(endpoint("cpnp-cp-1", "cp-1")), nil, true},
		"a policy from a backup that was changed since":                               {changed, nil, false},
		"a policy with the operator's label that the operator did not write":          {&v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "cpnp.prod-self", Labels: map[string]string{v1alpha1.LabelPolicy: "prod"}}}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			there := calico.Live{Mode: calico.Native}
			switch o := test.live.(type) {
			case *v3.GlobalNetworkPolicy:
				there.Policies = []v3.GlobalNetworkPolicy{*o}
			case *v3.GlobalNetworkSet:
				there.Sets = []v3.GlobalNetworkSet{*o}
			case *v3.HostEndpoint:
				there.Endpoints = []v3.HostEndpoint{*o}
			}
			all := []v1alpha1.ControlPlaneNetworkPolicy{policy("prod")}
			for _, other := range test.others {
				all = append(all, policy(other))
			}
			policies := compile(all...)
			removals := drift.CompareHosts(plan.FindPolicy(policies, "prod"), policies, plan.Hosts{}, there).Removals
			g.Expect(len(removals) > 0).To(Equal(test.ours))
		})
	}
}

// An empty list of failsafe ports is a declaration, unlike no list.
func TestAnEmptyListOfFailsafePortsIsADeclaration(t *testing.T) {
	g := NewWithT(t)
	scoped := felixOf(&[]v3.ProtoPort{{Protocol: "tcp", Port: 2379, Net: "10.0.0.0/24"}})
	none := felixOf(&[]v3.ProtoPort{}, func(f *v3.FelixConfiguration) {
		f.ManagedFields = entriesOf(owns("kubectl-edit", set, 2, path("spec", "failsafeInboundHostPorts")))
	})
	g.Expect(drift.CompareOwned(&compile(policy("dns"))[0], scoped, none, false)).To(ConsistOf(And(
		HaveField("State", v1alpha1.StateConflicted), HaveField("Actual", "[]"), HaveField("By.Name", "kubectl-edit"),
	)))
	g.Expect(drift.CompareOwned(&compile(policy("dns"))[0], none, none, false)).To(BeEmpty())
}

// Rules of a version that no node has yet are new intent, even if the last
// report was complete. So is the first write to a foreign configuration.
func TestNewRulesAreNoDrift(t *testing.T) {
	g := NewWithT(t)
	inSync := policy("dns", func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Status.ObservedGeneration = p.Generation
		p.Status.HostPolicies = v1alpha1.SyncCount{Declared: ptr.To[int32](1), InSync: ptr.To[int32](1)}
	})
	policies := compile(inSync)
	rules := allowing("allow-etcd")
	rules.Labels[calico.LabelVersion] = "new"
	g.Expect(plan.Stamp(rules)).To(Succeed())
	diff := drift.CompareHosts(&policies[0], policies, plan.Hosts{Objects: []plan.Object{rules}}, calico.Live{Mode: calico.Native})
	g.Expect(diff.Writes).To(HaveLen(1))
	g.Expect(diff.Writes[0].Findings).To(ConsistOf(HaveField("State", v1alpha1.StatePending)))

	scoped := felixOf(&[]v3.ProtoPort{{Protocol: "tcp", Port: 2379, Net: "10.0.0.0/24"}})
	theirs := felixOf(nil, func(f *v3.FelixConfiguration) {
		f.Spec.LogSeverityScreen = "Debug"
		f.ManagedFields = entriesOf(owns("kubectl-edit", set, 2, path("spec", "logSeverityScreen")))
	})
	g.Expect(drift.CompareOwned(&policies[0], scoped, theirs, true)).To(HaveEach(HaveField("State", v1alpha1.StatePending)))
	ours := felixOf(nil, func(f *v3.FelixConfiguration) {
		f.ManagedFields = entriesOf(owns(v1alpha1.FieldManagerNetwork, apply, 1, path("metadata", "labels", v1alpha1.LabelPolicy)))
	})
	g.Expect(drift.CompareOwned(&policies[0], scoped, ours, true)).To(HaveEach(HaveField("State", v1alpha1.StateDrifted)), "somebody removed the operator's part")
}

// felixOf returns a configuration with failsafe ports, nil for none.
func felixOf(ports *[]v3.ProtoPort, edits ...func(*v3.FelixConfiguration)) *v3.FelixConfiguration {
	f := &v3.FelixConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "node.cp-1"}, Spec: v3.FelixConfigurationSpec{FailsafeInboundHostPorts: ports}}
	for _, edit := range edits {
		edit(f)
	}
	return f
}
