// SPDX-License-Identifier: Apache-2.0

package modes

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// Calico is not there, comes step by step, and goes again, under one operator
// that runs all the time. What does not need Calico is in place throughout.
func TestCalicoComesAndGoes(t *testing.T) {
	s := begin(t)
	nodes := s.nodes()
	s.create(testbed.Service(s.name, "web", corev1.ServiceTypeClusterIP, testbed.ServiceLabels(s.label())))
	before := s.rest()
	rest := ConsistOf(append(marked(nodes...), "web Local", "cpnp."+s.name+".coredns"))
	s.operator()

	t.Log("not installed")
	s.create(s.policy())
	s.unprotected(s.name, "CalicoNotInstalled", "Calico is not installed", "install Calico", "set spec.network.hostBackend to None")
	s.Eventually(s.rest).Should(rest)
	s.quiet()
	looked := reconciliations()
	s.Consistently(func() float64 { return reconciliations() - looked }, moment).Should(BeZero(), "nothing is looked at in vain")

	t.Log("without its API server")
	uninstallAfter(t)
	s.Expect(calico.InstallCRDs(s.ctx, cluster, calico.Aggregated)).To(Succeed())
	s.unprotected(s.name, "CalicoNotInstalled", "install its API server", "operator.tigera.io/v1", "apiserver.yaml")
	s.leavesCalicoAlone(s.began, tick)

	t.Log("with its API server")
	installed := install(t, calico.Aggregated)
	s.says(s.name, programmed)
	s.Expect(s.inventory()).To(ContainElements(s.whole(s.name, nodes...)))
	s.Expect(s.get(s.name).Status.LastDrift).To(BeNil(), "what is written for the first time has not drifted")
	s.Expect(s.events(s.name)()).NotTo(ContainElement("DriftCorrected"))

	t.Log("without its API server again")
	s.Expect(installed.Stop()).To(Succeed())
	s.unprotected(s.name, "CalicoNotInstalled", "install its API server")

	t.Log("removed")
	s.Expect(calico.Uninstall(s.ctx, cluster)).To(Succeed())
	s.unprotected(s.name, "CalicoNotInstalled", "Calico is not installed")
	s.Expect(s.rest()).To(rest)
	s.patch(&corev1.Node{ObjectMeta: named(nodes[0])}, `{"spec":{"taints":[]}}`)
	s.Eventually(s.rest).Should(rest, "repairs go on")
	s.runs()

	s.remove(s.name)
	s.Expect(s.rest()).To(Equal(before))
	s.Expect(s.events(s.name)()).NotTo(ContainElement("Orphaned"), "what Calico had went with it")
	s.runs()
}
