// SPDX-License-Identifier: Apache-2.0

package modes

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// TestAggregated runs the stories of a Calico with a separate API server.
func TestAggregated(t *testing.T) {
	s := beginStory(t)
	installCalico(t, calico.Aggregated)
	t.Run("at rest", restsWhenInSync)
	t.Run("added to sets", additionsAreRemoved)
	t.Run("unavailable", orphansAfterAMinute)
	t.Run("back in time", rollsBackWithinAMinute)
	t.Run("shared tier", tierIsShared)
	t.Run("rights", func(t *testing.T) { s.inSubtest(t).rightsAreUsed() })
}

// restsWhenInSync: with all objects in sync, the operator makes no requests, even while
// other users change foreign objects, and the operator looks at nothing more often than
// objects change. After a restart, the operator finds all objects in sync, and reports no
// other state meanwhile.
func restsWhenInSync(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes()[0]
	stop := s.startOperator()
	s.createObjects(s.newPolicy())
	s.waitForConditions(s.name, programmed)
	s.waitUntilQuiet()

	const (
		changes = 20
		looks   = int(2 * soon / (250 * time.Millisecond)) // controllers.lookInterval: a report in the queue
	)
	endpoint := &v3.HostEndpoint{ObjectMeta: metaNamed("foreign")}
	endpoint.Spec.Node, endpoint.Spec.InterfaceName = node, "eth7"
	set := &v3.GlobalNetworkSet{ObjectMeta: metaNamed("foreign")}
	s.createObjects(endpoint, set)
	s.waitUntilQuiet()
	mark, looked := s.markAuditLog(), countReconciliations()
	ticker := time.NewTicker(soon / changes)
	defer ticker.Stop()
	for i := range changes {
		<-ticker.C
		s.patchObject(endpoint, fmt.Sprintf(`{"metadata":{"labels":{"number":"%d"}}}`, i))
		s.patchObject(set, fmt.Sprintf(`{"spec":{"nets":["192.0.2.%d/32"]}}`, i))
	}
	s.Consistently(func() []string { return s.requestsSince(mark, isNoWatch) }, moment).Should(BeEmpty())
	s.Expect(countReconciliations() - looked).To(BeNumerically("<=", 2*changes+looks))
	s.deleteObject(endpoint)
	s.deleteObject(set)
	s.waitForConditions(s.name, "Effective=True/AsDeclared")
	s.waitUntilQuiet() // a late write of the stopped operator would count as a write of the next operator

	stop()
	mark = s.markAuditLog()
	s.startOperatorAs(delayCalico(operatorConfig))
	s.Eventually(func() []string { return s.requestsSince(mark, isNoWatch) }).ShouldNot(BeEmpty())
	s.waitUntilQuiet()
	s.Expect(s.requestsSince(mark, testbed.AuditEvent.Mutating)).To(BeEmpty(), "a restart writes nothing")

	s.removePolicy(s.name)
}

// delayCalico returns a connection with late answers from Calico.
func delayCalico(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return slow{next}
	})
	return config
}

type slow struct{ next http.RoundTripper }

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/projectcalico.org/") {
		select {
		case <-time.After(moment / 2):
		case <-r.Context().Done():
		}
	}
	return s.next.RoundTrip(r)
}

// orphansAfterAMinute: a policy deleted during an outage of Calico waits a minute for
// Calico. Then the written objects are orphaned, and an event tells so. A later policy of
// the same name adopts the orphaned objects.
func orphansAfterAMinute(t *testing.T) {
	s := beginStory(t)
	before := s.listInventory()
	s.loseCalicoAfterProgramming()
	s.deleteObject(s.getPolicy(s.name))
	s.expectWaitForCalico()
	s.clock.Passes(time.Minute)
	s.waitUntilGone(s.name)
	s.Eventually(s.eventsOf(s.name)).Should(ContainElement("Orphaned"))

	s.reachCalicoAt(here)
	s.Eventually(s.listInventory).Should(ContainElements(s.completeInventory(s.name)))
	s.createObjects(s.newPolicy())
	s.waitForConditions(s.name, programmed)
	s.removePolicy(s.name)
	s.Expect(s.listInventory()).To(Equal(before))
}

// rollsBackWithinAMinute: where Calico answers again in time, all objects are rolled back,
// also by an operator started meanwhile.
func rollsBackWithinAMinute(t *testing.T) {
	s := beginStory(t)
	before := s.listInventory()
	stop := s.loseCalicoAfterProgramming()
	s.deleteObject(s.getPolicy(s.name))
	s.expectWaitForCalico()
	stop()
	s.startOperator()
	s.reachCalicoAt(here)
	s.waitUntilGone(s.name)
	s.Expect(s.listInventory()).To(Equal(before))
	s.Expect(s.eventsOf(s.name)()).NotTo(ContainElement("Orphaned"))
}

// loseCalicoAfterProgramming creates a policy, waits until its objects are written, and
// then makes Calico's API server unreachable.
func (s *story) loseCalicoAfterProgramming() (stop func()) {
	s.t.Helper()
	nodes := s.createNodes()
	stop = s.startOperator()
	s.createObjects(s.newPolicy())
	s.waitForConditions(s.name, programmed)
	s.Expect(s.listInventory()).To(ContainElements(s.completeInventory(s.name, nodes...)))
	s.reachCalicoAt(nowhere)
	s.t.Cleanup(func() { s.reachCalicoAt(here) })
	s.waitUntilUnprotected(s.name, "CalicoUnavailable", "the API of Calico does not answer", nowhere)
	return stop
}

// expectWaitForCalico expects all other objects to be restored, and the policy to stay.
func (s *story) expectWaitForCalico() {
	s.t.Helper()
	s.Eventually(s.messageOf(s.name, v1alpha1.ConditionReady)).Should(HavePrefix(
		"The policy is being deleted; left to restore: objects of Calico, which does not answer now. If this message stays"))
	s.Eventually(s.otherWrites).Should(BeEmpty())
	s.Consistently(func() []string { return s.getPolicy(s.name).Finalizers }, 3*moment).ShouldNot(BeEmpty())
}

// tierIsShared: all policies share one tier. The tier stays until the last policy is
// deleted, also where several policies are deleted at once, and where someone else has put
// a policy into the tier.
func tierIsShared(t *testing.T) {
	s := beginStory(t)
	before := s.listInventory()
	nodes := map[string][]string{}
	part := func(name string, offset int) *v1alpha1.ControlPlaneNetworkPolicy {
		for i := range members {
			nodes[name] = append(nodes[name], s.createNode(offset+i, testbed.ControlPlaneNode(), testbed.NodeLabels(map[string]string{"part": name})))
		}
		policy := s.newPolicy()
		policy.Name = s.name + "-" + name
		policy.Spec.Network.Components = policy.Spec.Network.Components[:2] // two policies cannot restrict the same pods
		policy.Spec.NodeSelector.MatchLabels["part"] = v1alpha1.LabelValue(name)
		return policy
	}
	first, second := part("a", 1), part("b", 1+members)
	s.startOperator()
	create := func() {
		s.createObjects(first.DeepCopy(), second.DeepCopy())
		s.waitForConditions(first.Name, programmed)
		s.waitForConditions(second.Name, programmed)
		s.Expect(s.listInventory()).To(ContainElements(s.completeInventory(first.Name, nodes["a"]...)))
		s.Expect(s.listInventory()).To(ContainElements(s.completeInventory(second.Name, nodes["b"]...)))
	}
	t.Log("one policy is deleted, and the other policy stays as before")
	create()
	s.waitUntilQuiet()
	looked := s.getPolicy(second.Name).Status
	mark := s.markAuditLog()
	s.removePolicy(first.Name)
	s.Expect(s.requestsSince(mark, func(e testbed.AuditEvent) bool { return writesToCalico(e) && e.Resource == "tiers" })).To(BeEmpty())
	s.waitForConditions(second.Name, programmed)
	s.Expect(s.getPolicy(second.Name).Status.LastDriftTime).To(Equal(looked.LastDriftTime))
	s.removePolicy(second.Name)
	s.Expect(s.listInventory()).To(Equal(before))

	t.Log("both policies are deleted at once")
	create()
	s.deleteObject(s.getPolicy(first.Name))
	s.deleteObject(s.getPolicy(second.Name))
	s.waitUntilGone(first.Name)
	s.waitUntilGone(second.Name)
	s.Expect(s.listInventory()).To(Equal(before))

	t.Log("a foreign policy uses the tier")
	s.createObjects(first.DeepCopy())
	s.waitForConditions(first.Name, programmed)
	foreign := &v3.GlobalNetworkPolicy{ObjectMeta: metaNamed("cpnp.foreign")}
	foreign.Spec.Tier = "cpnp"
	s.createObjects(foreign)
	s.removePolicy(first.Name)
	s.Expect(s.listInventory()).To(Equal(slices.Sorted(slices.Values(append(before, "Tier/cpnp", "GlobalNetworkPolicy/cpnp.foreign")))))
	s.deleteObject(foreign)
	s.deleteObject(&v3.Tier{ObjectMeta: metaNamed("cpnp")})
}

// rightsAreUsed: all visible rights that are shipped to protect hosts are used. Calico's
// API server checks the rights to tier.globalnetworkpolicies, and to get tiers, in its own
// access reviews.
func (s *story) rightsAreUsed() {
	const migrations = "../calicowatch/testdata/datastoremigrations.yaml"
	s.startOperator()
	_, err := envtest.InstallCRDs(cluster.Config, envtest.CRDInstallOptions{Paths: []string{migrations}, ErrorIfPathMissing: true})
	s.Expect(err).NotTo(HaveOccurred())
	shipped, err := testbed.Rights(roleFile)
	s.Expect(err).NotTo(HaveOccurred())
	shipped = slices.DeleteFunc(shipped, func(right string) bool { return !isForHosts(right) || isIndirect(right) })
	s.Expect(shipped).NotTo(BeEmpty())
	s.Eventually(func() []string {
		logged, err := cluster.Audit().Since(s.began)
		s.Expect(err).NotTo(HaveOccurred())
		return slices.DeleteFunc(testbed.RightsUsed(logged, operatorUser), func(right string) bool { return !isForHosts(right) })
	}).Should(ConsistOf(shipped))
}
