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

// TestNative runs the stories of a Calico whose API consists of CRDs.
func TestNative(t *testing.T) {
	installCalico(t, calico.Native)
	t.Run("checked as later", refusesAsLaterVersions)
	t.Run("everything", writesEverything)
	t.Run("added to sets", additionsAreRemoved)
	t.Run("added again and again", contestsAtAPace)
	t.Run("changed on its way", reportsMutation)
	t.Run("joining", joiningIsNoDrift)
	t.Run("interfaces", acceptsInterfaceNames)
	t.Run("foreign felix", keepsForeignFields)
	t.Run("locked", waitsWhileLocked)
	t.Run("migration", waitsForMigration)
	t.Run("released", releasesHosts)
	t.Run("profile", followsSigns)
	t.Run("API server ports", followsAPIServerPorts)
	t.Run("managed", leavesManagedHostsAlone)
	t.Run("no admin path", keepsAnAdminPath)
	t.Run("exposed by a Service", reportsExposure)
}

// drifting is a change of an object of each kind by someone else: a merge patch, or a
// deletion where the patch is empty.
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
		{of(&v3.GlobalNetworkPolicy{}, s.partName(policy, "deny-kubelet")), `{"spec":{"selector":"has(nothing)"}}`, "spec.selector"},
		{of(&v3.HostEndpoint{}, render.EndpointName(node, "")), `{"spec":{"expectedIPs":["192.0.2.1"]}}`, "spec.expectedIPs"},
		{
			of(&v3.FelixConfiguration{}, render.FelixConfigurationName(node)),
			`{"spec":{"failsafeInboundHostPorts":[{"protocol":"tcp","port":2379}]}}`, "spec.failsafeInboundHostPorts",
		},
		{of(&v3.GlobalNetworkPolicy{}, s.partName(policy, "allow-etcd")), "", ""},
	}
}

// writesEverything: all objects are written, foreign changes of each kind are repaired and
// reported, and no object is left after the deletion.
func writesEverything(t *testing.T) {
	s := beginStory(t)
	before := s.listInventory()
	nodes := s.createNodes()
	s.startOperator()
	s.createObjects(s.newPolicy())
	s.waitForConditions(s.name, programmed, "Drifted=False/NoDrift")
	s.Expect(s.listInventory()).To(ConsistOf(slices.Concat(before, s.completeInventory(s.name, nodes...))))
	s.Expect(s.getPolicy(s.name).Status.LastDrift).To(BeNil())
	s.Expect(s.enactmentsOf(s.name)()).To(ConsistOf(nodes[0]+" Enforced", nodes[1]+" Enforced", nodes[2]+" Enforced"))

	for _, d := range s.driftOfEachKind(s.name, nodes[0]) {
		key := client.ObjectKeyFromObject(d.object)
		s.Expect(admin.Get(s.ctx, key, d.object)).To(Succeed())
		is, err := render.WrittenContent(d.object)
		s.Expect(err).NotTo(HaveOccurred())
		manager := "mallory"
		if d.patch == "" {
			manager = "" // the manager of a deletion is unknown
			s.deleteObject(d.object.DeepCopyObject().(client.Object))
		} else {
			s.patchObject(d.object.DeepCopyObject().(client.Object), d.patch)
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
		s.Eventually(func() *v1alpha1.Drift { return s.getPolicy(s.name).Status.LastDrift }).Should(And(Not(BeNil()),
			HaveField("Name", key.Name), HaveField("Field", d.field), HaveField("Manager", manager)), key.Name)
	}
	s.waitForConditions(s.name, programmed, "Drifted=False/NoDrift")
	s.removePolicy(s.name)
	s.Expect(s.listInventory()).To(Equal(before))
	s.Expect(s.enactmentsOf(s.name)()).To(BeEmpty())
}

// joiningIsNoDrift: the objects of a new node have not drifted.
func joiningIsNoDrift(t *testing.T) {
	s := beginStory(t)
	nodes := s.createNodes()
	s.startOperator()
	s.createObjects(s.newPolicy())
	s.waitForConditions(s.name, programmed)
	nodes = append(nodes, s.createNode(members+1))
	s.Eventually(s.listInventory).Should(ContainElements(s.completeInventory(s.name, nodes...)))
	s.Eventually(func() string { return textOfCount(s.getPolicy(s.name).Status.HostPolicies) }).Should(Equal("17/17"))
	s.waitUntilQuiet()
	s.Expect(s.getPolicy(s.name).Status.LastDrift).To(BeNil())
	s.Expect(s.eventsOf(s.name)()).NotTo(ContainElement("DriftCorrected"))
	s.removePolicy(s.name)
}

// acceptsInterfaceNames: interfaces may have invalid names for objects.
func acceptsInterfaceNames(t *testing.T) {
	s := beginStory(t)
	before := s.listInventory()
	s.createNodes()
	s.startOperator()
	names := []string{"eth1", "Eth1", "eth_1", "eth1.100", "a_.B"}
	s.createObjects(s.newPolicy(func(spec *v1alpha1.ControlPlaneNetworkPolicySpec) {
		spec.Network.Components = nil
		for i, name := range names {
			spec.Network.Components = append(spec.Network.Components, v1alpha1.Component{
				Name: fmt.Sprintf("storage-%d", i), Interface: name, Ports: []v1alpha1.Port{{Protocol: "TCP", Port: 3260}},
				AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}},
			})
		}
	}))
	s.waitForConditions(s.name, programmed)
	var endpoints v3.HostEndpointList
	s.Expect(admin.List(s.ctx, &endpoints)).To(Succeed())
	var found []string
	for _, endpoint := range endpoints.Items {
		found = append(found, endpoint.Spec.InterfaceName)
	}
	s.Expect(found).To(ConsistOf(slices.Repeat(names, members)))
	s.removePolicy(s.name)
	s.Expect(s.listInventory()).To(Equal(before))
}

// keepsForeignFields: of a foreign FelixConfiguration with other settings, only the managed
// field is removed again.
func keepsForeignFields(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes()[0]
	felix := &v3.FelixConfiguration{ObjectMeta: metaNamed(render.FelixConfigurationName(node))}
	felix.Spec.LogSeverityScreen = "Warning"
	s.createObjects(felix)
	s.startOperator()
	s.createObjects(s.newPolicy())
	s.waitForConditions(s.name, programmed)
	now := func() v3.FelixConfigurationSpec {
		is := &v3.FelixConfiguration{}
		s.Expect(admin.Get(s.ctx, client.ObjectKeyFromObject(felix), is)).To(Succeed())
		return is.Spec
	}
	s.Expect(now()).To(And(HaveField("LogSeverityScreen", "Warning"), HaveField("FailsafeInboundHostPorts", Not(BeNil()))))
	s.removePolicy(s.name)
	s.Expect(now()).To(And(HaveField("LogSeverityScreen", "Warning"), HaveField("FailsafeInboundHostPorts", BeNil())))
	s.deleteObject(felix)
}

// waitsWhileLocked: while Calico locks its datastore, no Calico object is written, but all
// other objects are. The writes follow when the datastore is unlocked.
func waitsWhileLocked(t *testing.T) {
	s := beginStory(t)
	nodes := s.createNodes()
	s.lockDatastore(true)
	t.Cleanup(func() { s.lockDatastore(false) })
	s.startOperator()
	s.createObjects(s.newPolicy())
	s.waitUntilUnprotected(s.name, "CalicoUnavailable", "ClusterInformation default: datastoreReady is false", "the operator writes nothing until Calico unlocks the datastore")
	s.Eventually(s.otherWrites).Should(ConsistOf(append(taintedAndRecorded(nodes...), "cpnp."+s.name+".coredns")))
	s.expectNoCalicoWrites(s.began, moment)

	s.lockDatastore(false)
	s.waitForConditions(s.name, programmed)
	s.Expect(s.listInventory()).To(ContainElements(s.completeInventory(s.name, nodes...)))
	s.Expect(s.getPolicy(s.name).Status.LastDrift).To(BeNil())
	s.removePolicy(s.name)
}

func (s *story) lockDatastore(locked bool) {
	s.t.Helper()
	information := &v3.ClusterInformation{}
	s.Expect(admin.Get(context.Background(), client.ObjectKey{Name: "default"}, information)).To(Succeed())
	information.Spec.DatastoreReady = ptr.To(!locked)
	s.Expect(admin.Update(context.Background(), information)).To(Succeed())
}
