// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

func endpointOn(node, version, enforced string) *v3.HostEndpoint {
	return &v3.HostEndpoint{
		ObjectMeta: metav1.ObjectMeta{Name: "cpnp-" + node, Labels: map[string]string{calico.LabelVersion: version, calico.LabelEnforced: enforced}},
		Spec:       v3.HostEndpointSpec{Node: node},
	}
}

// A write rolls back only where a node has a newer ruleset than the plan has
// for it, or where an object that restricts a node is deleted.
func TestWritesThatRollBack(t *testing.T) {
	hosts := plan.Hosts{Now: backend.Hosts{Version: "new", Nodes: []backend.Node{{Name: "cp-1", Ruleset: rollout.Ruleset{Version: "old"}}, {Name: "cp-2", Ruleset: rollout.Ruleset{Version: "new"}}}}}
	elsewhere := endpointOn("cp-2", "new", "true")
	elsewhere.Name = "cpnp-cp-2-eth1"
	another := endpointOn("cp-1", "new", "true")
	another.Name = "cpnp-cp-1-eth1"
	felix := &v3.FelixConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "node.cp-2"}}
	moved := endpointOn("cp-1", "new", "true")
	moved.Spec.Node = "cp-2"
	for name, test := range map[string]struct {
		desired, live plan.Object
		there         []v3.HostEndpoint
		state         v1alpha1.DriftState
		node          string
		stage         int
		rollsBack     bool
	}{
		"the node has the newer ruleset":                         {endpointOn("cp-1", "old", "true"), endpointOn("cp-1", "new", "true"), nil, "", "cp-1", backend.StageEndpoints, true},
		"the failsafe ports are contested":                       {endpointOn("cp-1", "old", "true"), endpointOn("cp-1", "new", "true"), nil, v1alpha1.StateConflicted, "cp-1", backend.StageEndpoints, false},
		"the failsafe ports were opened by somebody":             {endpointOn("cp-1", "old", "true"), endpointOn("cp-1", "new", ""), nil, "", "cp-1", backend.StageEndpoints, false},
		"the endpoint was deleted by somebody":                   {endpointOn("cp-1", "old", "true"), nil, nil, "", "cp-1", backend.StageEndpoints, false},
		"an endpoint of another interface has the newer ruleset": {endpointOn("cp-1", "old", "true"), nil, []v3.HostEndpoint{*another}, "", "cp-1", backend.StageEndpoints, true},
		"an endpoint of another node has the newer ruleset":      {endpointOn("cp-1", "old", "true"), nil, []v3.HostEndpoint{*elsewhere}, "", "cp-1", backend.StageEndpoints, false},
		"the node is rolled back already":                        {endpointOn("cp-1", "old", "true"), endpointOn("cp-1", "old", "true"), nil, "", "cp-1", backend.StageEndpoints, false},
		"the ruleset that is called for":                         {endpointOn("cp-2", "new", "true"), endpointOn("cp-2", "old", "true"), nil, "", "cp-2", backend.StageEndpoints, false},
		"an endpoint is deleted":                                 {nil, endpointOn("cp-9", "new", "true"), nil, "", "cp-9", backend.StageEndpoints, true},
		"failsafe ports are opened":                              {nil, felix, nil, "", "cp-2", backend.StageScopedFailsafes, true},
		"the endpoint was moved to another node by somebody":     {endpointOn("cp-1", "old", "true"), moved, nil, "", "cp-1", backend.StageEndpoints, false},
		"a set is deleted":                                       {nil, &v3.GlobalNetworkSet{}, nil, "", "", backend.StageAddresses, false},
		"a set is written":                                       {&v3.GlobalNetworkSet{}, nil, nil, "", "", backend.StageAddresses, false},
		"a policy that allows less, removed":                     {&v3.GlobalNetworkPolicy{}, &v3.GlobalNetworkPolicy{}, nil, "", "", backend.StageRules, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			w := Write{Desired: test.desired, Live: test.live, Findings: []Finding{{State: test.state}}}
			diff := Diff{Writes: []Write{w}}
			there := test.there
			if live, is := test.live.(*v3.HostEndpoint); is {
				there = append(there, *live)
			}
			diff.describeHostWrites(hosts, calico.Live{Endpoints: there}.HostEndpoints())
			w = diff.Writes[0]
			g.Expect(w.Node).To(Equal(test.node))
			g.Expect(w.Stage).To(Equal(test.stage))
			g.Expect(w.RollsBack).To(Equal(test.rollsBack))
		})
	}
}

// Failsafe ports are opened before a node gets an older ruleset. A node has the older ruleset on every
// interface before an endpoint is deleted, because the endpoint of every interface governs then.
func TestOrderOfRollBacks(t *testing.T) {
	g := NewWithT(t)
	felix := Write{Object: Object{Name: "felix"}, Node: "cp-1", Stage: backend.StageScopedFailsafes, RollsBack: true}
	gone := Write{Object: Object{Name: "gone"}, Node: "cp-1", Stage: backend.StageEndpoints, RollsBack: true}
	older := Write{Object: Object{Name: "older"}, Node: "cp-1", Stage: backend.StageEndpoints, RollsBack: true}
	other := Write{Object: Object{Name: "other"}, Node: "cp-2", Stage: backend.StageEndpoints, RollsBack: true}
	set := Write{Object: Object{Name: "set"}, Stage: backend.StageAddresses}
	diff := Diff{Taken: []string{"x"}, Writes: []Write{set, older}, Removals: []Write{gone, felix, other, set}}
	rollBacks, rest := diff.SplitRollBacks(func(w Write) bool { return w.Node != "cp-2" })
	g.Expect(rollBacks).To(Equal([]Diff{{Removals: []Write{felix}}, {Writes: []Write{older}}, {Removals: []Write{gone}}}))
	g.Expect(rest).To(Equal(Diff{Taken: []string{"x"}, Writes: []Write{set}, Removals: []Write{other, set}}))
}
