// SPDX-License-Identifier: Apache-2.0

package modes

import (
	"context"
	"fmt"
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	render "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// TestNative is the stories of a Calico whose API is CRDs.
func TestNative(t *testing.T) {
	install(t, calico.Native)
	t.Run("checked as later", later)
	t.Run("everything", everything)
	t.Run("added to sets", addedToSets)
	t.Run("added again and again", addedAgainAndAgain)
	t.Run("changed on its way", changedOnItsWay)
	t.Run("joining", joining)
	t.Run("interfaces", interfaces)
	t.Run("foreign felix", foreignFelixConfiguration)
	t.Run("locked", lockedDatastore)
	t.Run("migration", migration)
	t.Run("released", released)
	t.Run("profile", foundOut)
	t.Run("API server ports", apiServerPorts)
	t.Run("managed", managedCluster)
	t.Run("no admin path", noAdminPath)
	t.Run("exposed by a Service", exposedByService)
}

// drifting is what somebody does to an object of each kind: a merge patch, or
// the deletion where there is none.
type drifting struct {
	object       client.Object
	patch, field string
}

func (s *story) driftOfEachKind(policy, node string) []drifting {
	of := func(object client.Object, name string) client.Object {
		object.SetName(name)
		return object
	}
	return []drifting{
		{of(&v3.Tier{}, render.TierName), `{"spec":{"order":2000000}}`, "spec.order"},
		{of(&v3.GlobalNetworkSet{}, render.SetName(policy, "control-plane-0")), `{"spec":{"nets":["198.51.100.1/32"]}}`, "spec.nets"},
		{of(&v3.GlobalNetworkPolicy{}, s.part(policy, "deny-kubelet")), `{"spec":{"selector":"has(nothing)"}}`, "spec.selector"},
		{of(&v3.HostEndpoint{}, render.EndpointName(node, "")), `{"spec":{"expectedIPs":["192.0.2.1"]}}`, "spec.expectedIPs"},
		{
			of(&v3.FelixConfiguration{}, render.FelixConfigurationName(node)),
			`{"spec":{"failsafeInboundHostPorts":[{"protocol":"tcp","port":2379}]}}`, "spec.failsafeInboundHostPorts",
		},
		{of(&v3.GlobalNetworkPolicy{}, s.part(policy, "allow-etcd")), "", ""},
	}
}

// everything is written, what others change of each kind is put right and told,
// and nothing is left behind.
func everything(t *testing.T) {
	s := begin(t)
	before := s.inventory()
	nodes := s.nodes()
	s.operator()
	s.create(s.policy())
	s.says(s.name, programmed, "Drifted=False/NoDrift")
	s.Expect(s.inventory()).To(ConsistOf(slices.Concat(before, s.whole(s.name, nodes...))))
	s.Expect(s.get(s.name).Status.LastDrift).To(BeNil())
	s.Expect(s.enactments(s.name)()).To(ConsistOf(nodes[0]+" Enforced", nodes[1]+" Enforced", nodes[2]+" Enforced"))

	for _, d := range s.driftOfEachKind(s.name, nodes[0]) {
		key := client.ObjectKeyFromObject(d.object)
		s.Expect(admin.Get(s.ctx, key, d.object)).To(Succeed())
		is, err := render.WrittenContent(d.object)
		s.Expect(err).NotTo(HaveOccurred())
		manager := "mallory"
		if d.patch == "" {
			manager = "" // a deleted object takes with it who deleted it
			s.delete(d.object.DeepCopyObject().(client.Object))
		} else {
			s.patch(d.object.DeepCopyObject().(client.Object), d.patch)
		}
		s.Eventually(func() any {
			now := d.object.DeepCopyObject().(client.Object)
			if admin.Get(context.Background(), key, now) != nil {
				return nil
			}
			content, err := render.WrittenContent(now)
			s.Expect(err).NotTo(HaveOccurred())
			return content["spec"]
		}).Should(Equal(is["spec"]), key.Name)
		s.Eventually(func() *v1alpha1.Drift { return s.get(s.name).Status.LastDrift }).Should(And(Not(BeNil()),
			HaveField("Name", key.Name), HaveField("Field", d.field), HaveField("Manager", manager)), key.Name)
	}
	s.says(s.name, programmed, "Drifted=False/NoDrift")
	s.remove(s.name)
	s.Expect(s.inventory()).To(Equal(before))
	s.Expect(s.enactments(s.name)()).To(BeEmpty())
}

// joining: the objects of a node that is new have not drifted.
func joining(t *testing.T) {
	s := begin(t)
	nodes := s.nodes()
	s.operator()
	s.create(s.policy())
	s.says(s.name, programmed)
	nodes = append(nodes, s.join(members+1))
	s.Eventually(s.inventory).Should(ContainElements(s.whole(s.name, nodes...)))
	s.Eventually(func() string { return counts(s.get(s.name).Status.HostPolicies) }).Should(Equal("17/17"))
	s.quiet()
	s.Expect(s.get(s.name).Status.LastDrift).To(BeNil())
	s.Expect(s.events(s.name)()).NotTo(ContainElement("DriftCorrected"))
	s.remove(s.name)
}

// interfaces may have names that no object can have.
func interfaces(t *testing.T) {
	s := begin(t)
	before := s.inventory()
	s.nodes()
	s.operator()
	names := []string{"eth1", "Eth1", "eth_1", "eth1.100", "a_.B"}
	s.create(s.policy(func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.Components = nil
		for i, name := range names {
			spec.Network.Components = append(spec.Network.Components, v1alpha1.Component{
				Name: fmt.Sprintf("storage-%d", i), Interface: name, Ports: []v1alpha1.Port{{Protocol: "TCP", Port: 3260}},
				AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}},
			})
		}
	}))
	s.says(s.name, programmed)
	var endpoints v3.HostEndpointList
	s.Expect(admin.List(s.ctx, &endpoints)).To(Succeed())
	var found []string
	for _, endpoint := range endpoints.Items {
		found = append(found, endpoint.Spec.InterfaceName)
	}
	s.Expect(found).To(ConsistOf(slices.Repeat(names, members)))
	s.remove(s.name)
	s.Expect(s.inventory()).To(Equal(before))
}

// foreignFelixConfiguration: of one that others have made, and use for other
// things, only the field that was written is taken away again.
func foreignFelixConfiguration(t *testing.T) {
	s := begin(t)
	node := s.nodes()[0]
	felix := &v3.FelixConfiguration{ObjectMeta: named(render.FelixConfigurationName(node))}
	felix.Spec.LogSeverityScreen = "Warning"
	s.create(felix)
	s.operator()
	s.create(s.policy())
	s.says(s.name, programmed)
	now := func() v3.FelixConfigurationSpec {
		is := &v3.FelixConfiguration{}
		s.Expect(admin.Get(s.ctx, client.ObjectKeyFromObject(felix), is)).To(Succeed())
		return is.Spec
	}
	s.Expect(now()).To(And(HaveField("LogSeverityScreen", "Warning"), HaveField("FailsafeInboundHostPorts", Not(BeNil()))))
	s.remove(s.name)
	s.Expect(now()).To(And(HaveField("LogSeverityScreen", "Warning"), HaveField("FailsafeInboundHostPorts", BeNil())))
	s.delete(felix)
}

// lockedDatastore: while Calico says so nothing of it is written, and all the
// rest is. The writes follow when it is unlocked.
func lockedDatastore(t *testing.T) {
	s := begin(t)
	nodes := s.nodes()
	s.lock(true)
	t.Cleanup(func() { s.lock(false) })
	s.operator()
	s.create(s.policy())
	s.unprotected(s.name, "CalicoUnavailable", "ClusterInformation default: datastoreReady is false", "the operator writes nothing until Calico unlocks the datastore")
	s.Eventually(s.rest).Should(ConsistOf(append(marked(nodes...), "cpnp."+s.name+".coredns")))
	s.leavesCalicoAlone(s.began, moment)

	s.lock(false)
	s.says(s.name, programmed)
	s.Expect(s.inventory()).To(ContainElements(s.whole(s.name, nodes...)))
	s.Expect(s.get(s.name).Status.LastDrift).To(BeNil())
	s.remove(s.name)
}

func (s *story) lock(locked bool) {
	s.t.Helper()
	information := &v3.ClusterInformation{}
	s.Expect(admin.Get(context.Background(), client.ObjectKey{Name: "default"}, information)).To(Succeed())
	information.Spec.DatastoreReady = ptr.To(!locked)
	s.Expect(admin.Update(context.Background(), information)).To(Succeed())
}
