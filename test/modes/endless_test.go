// SPDX-License-Identifier: Apache-2.0

package modes

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// An API server with an endless list of a kind stops only work on objects of the kind, and
// the status names the kind.
func TestCalicoNeverFinishesItsList(t *testing.T) {
	s := beginStory(t)
	nodes := s.createNodes()
	s.createObjects(testbed.Service(s.name, "web", corev1.ServiceTypeClusterIP, testbed.ServiceLabels(s.storyLabels())))
	before := s.otherWrites()
	uninstallAfter(t)
	stub, err := calico.StartStub(s.ctx, cluster, "hostendpoints")
	s.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { s.Expect(stub.Stop()).To(Succeed()) })

	s.startOperator()
	s.createObjects(s.newPolicy())
	rest := ConsistOf(append(taintedAndRecorded(nodes...), "web Local", "cpnp."+s.name+".coredns"))
	s.Eventually(s.otherWrites).Should(rest)
	s.waitUntilUnprotected(s.name, "CalicoUnavailable", "HostEndpoint cannot be read", "has not answered within 2s")

	t.Log("repairs go on")
	s.patchObject(&corev1.Node{ObjectMeta: metaNamed(nodes[0])}, `{"spec":{"taints":[]}}`)
	web := &corev1.Service{ObjectMeta: metaNamed("web")}
	web.Namespace = s.name
	s.patchObject(web, `{"spec":{"internalTrafficPolicy":"Cluster"}}`)
	coredns := &networkingv1.NetworkPolicy{ObjectMeta: metaNamed("cpnp." + s.name + ".coredns")}
	coredns.Namespace = s.name
	s.deleteObject(coredns)
	s.Eventually(s.otherWrites).Should(rest)
	s.expectNoCalicoWrites(s.began, tick)
	s.expectRunning()

	t.Log("the list is finished, and the operator continues with the listed objects")
	stub.Finish()
	s.Eventually(func() []string { return s.requestsSince(s.began, writesToCalico) }).ShouldNot(BeEmpty(), func() string { return s.describeStatus(s.name) })
	s.waitForConditions(s.name, "Programmed=False/ApplyFailed", "Ready=False/ApplyFailed")
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionProgrammed)()).To(ContainSubstring("Tier/cpnp: the server could not find the requested resource"))

	t.Log("Calico is removed, and the policy is deleted")
	s.Expect(stub.Stop()).To(Succeed())
	s.waitUntilUnprotected(s.name, "CalicoNotInstalled")
	s.removePolicy(s.name)
	s.Expect(s.otherWrites()).To(Equal(before))
	s.expectRunning()
}
