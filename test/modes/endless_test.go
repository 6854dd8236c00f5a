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

// An API server that never finishes to tell what there is of one kind keeps
// nothing from going on but what needs it, and is named.
func TestCalicoNeverFinishesItsList(t *testing.T) {
	s := begin(t)
	nodes := s.nodes()
	s.create(testbed.Service(s.name, "web", corev1.ServiceTypeClusterIP, testbed.ServiceLabels(s.label())))
	before := s.rest()
	uninstallAfter(t)
	stub, err := calico.StartStub(s.ctx, cluster, "hostendpoints")
	s.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { s.Expect(stub.Stop()).To(Succeed()) })

	s.operator()
	s.create(s.policy())
	rest := ConsistOf(append(marked(nodes...), "web Local", "cpnp."+s.name+".coredns"))
	s.Eventually(s.rest).Should(rest)
	s.unprotected(s.name, "CalicoUnavailable", "HostEndpoint cannot be read", "has not answered within 2s")

	t.Log("repairs go on")
	s.patch(&corev1.Node{ObjectMeta: named(nodes[0])}, `{"spec":{"taints":[]}}`)
	web := &corev1.Service{ObjectMeta: named("web")}
	web.Namespace = s.name
	s.patch(web, `{"spec":{"internalTrafficPolicy":"Cluster"}}`)
	coredns := &networkingv1.NetworkPolicy{ObjectMeta: named("cpnp." + s.name + ".coredns")}
	coredns.Namespace = s.name
	s.delete(coredns)
	s.Eventually(s.rest).Should(rest)
	s.leavesCalicoAlone(s.began, tick)
	s.runs()

	t.Log("it finishes, and the operator goes on with what it has told")
	stub.Finish()
	s.Eventually(func() []string { return s.asked(s.began, toCalico) }).ShouldNot(BeEmpty(), func() string { return s.tell(s.name) })
	s.says(s.name, "Programmed=False/ApplyFailed", "Ready=False/ApplyFailed")
	s.Expect(s.message(s.name, v1alpha1.ConditionProgrammed)()).To(ContainSubstring("Tier/cpnp: the server could not find the requested resource"))

	t.Log("it goes, and the policy with it")
	s.Expect(stub.Stop()).To(Succeed())
	s.unprotected(s.name, "CalicoNotInstalled")
	s.remove(s.name)
	s.Expect(s.rest()).To(Equal(before))
	s.runs()
}
