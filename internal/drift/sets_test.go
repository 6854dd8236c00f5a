// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

const intruder = "198.51.100.7/32"

// item is the path of an item of a set.
func item(field, text string) []any {
	return path("spec", field, value.NewValueInterface(text))
}

func TestWhichManagerAddedAnItemToAList(t *testing.T) {
	const self = v1alpha1.FieldManagerNetwork
	list := path("spec", "nets")
	ours := owns(self, apply, 9, item("nets", "10.0.0.1/32"))
	keyed := func(port int64) []any {
		return path("spec", "nets", fieldpath.KeyByFields("address", intruder, "port", port))
	}
	type managers = []metav1.ManagedFieldsEntry
	by := func(name string) drift.Manager { return drift.Manager{Name: name} }
	tests := map[string]struct {
		entries managers
		added   []any
		want    drift.Manager
	}{
		"the manager that set it":                           {managers{ours, owns("a", set, 1, item("nets", intruder))}, []any{intruder}, by("a")},
		"the manager that declares it":                      {managers{ours, owns("a", apply, 1, item("nets", intruder))}, []any{intruder}, drift.Manager{Name: "a", Declares: true}},
		"the latest of several managers":                    {managers{ours, owns("a", set, 1, item("nets", intruder)), owns("b", set, 2, item("nets", intruder))}, []any{intruder}, by("b")},
		"not a manager that owns an item of the operator's": {managers{ours, owns("a", set, 9, item("nets", "10.0.0.1/32")), owns("b", set, 1, item("nets", intruder))}, []any{intruder}, by("b")},
		"not a manager that owns only the list as such": {
			managers{ours, owns("a", set, 9, list, item("nets", "10.0.0.1/32")), owns("b", set, 1, item("nets", intruder))}, []any{intruder}, by("b"),
		},
		"unknown, where items were only removed":       {managers{ours, owns("a", set, 9, list)}, nil, by("")},
		"unknown, where the operator left the item":    {managers{owns(self, apply, 9, item("nets", intruder))}, []any{intruder}, by("")},
		"the manager of a list that is atomic":         {managers{owns(self, apply, 1, path("spec", "x")), owns("a", set, 1, list)}, []any{intruder}, by("a")},
		"the manager of an item of a map":              {managers{owns("a", set, 1, keyed(1)), owns("b", set, 1, keyed(2))}, []any{map[string]any{"address": intruder, "port": int64(2)}}, by("b")},
		"unknown, where no key of a map is the item's": {managers{owns("a", set, 1, keyed(1))}, []any{map[string]any{"address": intruder}}, by("")},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(drift.ManagerOfAdded(test.entries, self, test.added, list...)).To(Equal(test.want))
		})
	}
}

func host(nets ...string) *v3.HostEndpoint {
	return &v3.HostEndpoint{
		ObjectMeta: metav1.ObjectMeta{Name: "cpnp-cp-1", Labels: map[string]string{v1alpha1.LabelPolicy: "dns"}},
		Spec:       v3.HostEndpointSpec{Node: "cp-1", InterfaceName: "*", ExpectedIPs: nets, Profiles: []string{"projectcalico-default-allow"}},
	}
}

// From Calico v3.32 on, these lists have managers per item.
func TestAddingAnItemToASetIsDriftOfItsManager(t *testing.T) {
	g := NewWithT(t)
	nets, policy, endpoint := stampedAs(g, setOf("nodes-0", "10.0.0.1/32")), stampedAs(g, allowing("allow", "10.0.0.1/32")), stampedAs(g, host("10.0.0.1"))
	policy.Spec.Types = []v3.PolicyType{"Ingress"}
	g.Expect(plan.Stamp(policy)).To(Succeed())
	there := calico.Live{
		Sets: []v3.GlobalNetworkSet{*nets.DeepCopy()}, Policies: []v3.GlobalNetworkPolicy{*policy.DeepCopy()}, Endpoints: []v3.HostEndpoint{*endpoint.DeepCopy()},
	}
	desired := []plan.Object{nets, policy, endpoint}
	g.Expect(hostDiff(g, desired, there).Writes).To(BeEmpty())

	there.Sets[0].Spec.Nets = append(there.Sets[0].Spec.Nets, intruder)
	there.Policies[0].Spec.Types = append(there.Policies[0].Spec.Types, "Egress")
	there.Endpoints[0].Spec.Profiles = append(there.Endpoints[0].Spec.Profiles, "open")
	add := func(object plan.Object, manager, field, text string) {
		object.SetManagedFields(append(object.GetManagedFields(), owns(manager, apply, 2, item(field, text))))
	}
	add(&there.Sets[0], "mallory", "nets", intruder)
	add(&there.Policies[0], "trudy", "types", "Egress")
	add(&there.Endpoints[0], "eve", "profiles", "open")
	found := map[string]drift.Finding{}
	for _, w := range hostDiff(g, desired, there).Writes {
		g.Expect(w.Findings).To(HaveLen(1))
		found[w.Findings[0].By.Name] = w.Findings[0]
		g.Expect(w.Findings[0].State).To(Equal(v1alpha1.StateDrifted), "nobody else can declare a managed object")
	}
	g.Expect(found).To(And(HaveLen(3),
		HaveKeyWithValue("mallory", HaveField("Field", "spec.nets")), HaveKeyWithValue("trudy", HaveField("Field", "spec.types")),
		HaveKeyWithValue("eve", HaveField("Field", "spec.profiles"))))
}

func TestOrderOfItemsInASetIsNoDifference(t *testing.T) {
	g := NewWithT(t)
	desired := stampedAs(g, setOf("nodes-0", "10.0.0.1/32", "10.0.0.2/32"))
	live := desired.DeepCopy()
	live.Spec.Nets = []string{"10.0.0.2/32", "10.0.0.1/32"}
	g.Expect(drift.RemainingDifferences(desired, live)).To(BeEmpty())
	live.Spec.Nets = []string{"10.0.0.2/32", "10.0.0.2/32"}
	g.Expect(drift.RemainingDifferences(desired, live)).To(HaveLen(1))
	rules := stampedAs(g, allowing("a", "10.0.0.1/32", "10.0.0.2/32"))
	other := rules.DeepCopy()
	other.Spec.Ingress[0], other.Spec.Ingress[1] = other.Spec.Ingress[1], other.Spec.Ingress[0]
	g.Expect(drift.RemainingDifferences(rules, other)).To(HaveLen(1), "the order of rules matters")
}

// A label of the operator's says which rules an object is for. All other
// labels are ignored, such as the one that Calico sets on policies.
func TestForeignLabelsAreIgnored(t *testing.T) {
	g := NewWithT(t)
	endpoint := stampedAs(g, host("10.0.0.1"))
	live := endpoint.DeepCopy()
	live.Labels["projectcalico.org/tier"], live.Labels["team"] = "cpnp", "edge"
	g.Expect(hostDiff(g, []plan.Object{endpoint}, calico.Live{Endpoints: []v3.HostEndpoint{*live}}).Writes).To(BeEmpty())

	live.Labels[calico.LabelInterface] = "eth0"
	live.ManagedFields = append(live.ManagedFields, owns("mallory", set, 2, path("metadata", "labels", calico.LabelInterface)))
	writes := hostDiff(g, []plan.Object{endpoint}, calico.Live{Endpoints: []v3.HostEndpoint{*live}}).Writes
	g.Expect(writes).To(HaveLen(1))
	g.Expect(writes[0].Findings).To(ConsistOf(And(
		HaveField("Field", "metadata.labels[cpnp.dev/interface]"), HaveField("Cause", v1alpha1.CauseUnexpected), HaveField("By.Name", "mallory"))))
	result := judge.WritesOf(drift.Diff{Writes: writes})[0].Object
	g.Expect(result.GetLabels()).To(And(Not(HaveKey(calico.LabelInterface)), HaveKey("team"), HaveKey("projectcalico.org/tier")))

	felix := felixOf(&[]v3.ProtoPort{})
	shared := felix.DeepCopy()
	shared.Labels = map[string]string{calico.LabelVersion: "x"}
	g.Expect(drift.RemainingDifferences(felix, shared)).To(BeEmpty(), "foreign labels on a shared object stay")
}

// An object in transition allows both the present and the declared peers. A set must not contain an item twice.
func TestSetInTransitionHasNoDuplicates(t *testing.T) {
	g := NewWithT(t)
	live := stampedAs(g, setOf("nodes-0", "10.0.0.1/32", "10.0.0.1/32", "10.0.0.2/32"))
	writes := hostDiff(g, []plan.Object{setOf("nodes-0", "10.0.0.2/32", "10.0.0.3/32")}, calico.Live{Sets: []v3.GlobalNetworkSet{*live}}).Writes
	g.Expect(writes).To(HaveLen(1))
	g.Expect(writes[0].Desired.(*v3.GlobalNetworkSet).Spec.Nets).To(Equal([]string{"10.0.0.2/32", "10.0.0.3/32", "10.0.0.1/32"}))
}
