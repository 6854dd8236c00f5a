// SPDX-License-Identifier: Apache-2.0

package modes

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// Calico is absent, installed step by step, and removed again, while the same operator runs
// all the time. Objects without need for Calico are in sync throughout.
func TestCalicoComesAndGoes(t *testing.T) {
	s := beginStory(t)
	nodes := s.createNodes()
	s.createObjects(testbed.Service(s.name, "web", corev1.ServiceTypeClusterIP, testbed.ServiceLabels(s.storyLabels())))
	before := s.otherWrites()
	rest := ConsistOf(append(taintedAndRecorded(nodes...), "web Local", "cpnp."+s.name+".coredns"))
	s.startOperator()

	t.Log("not installed")
	s.createObjects(s.newPolicy())
	s.waitUntilUnprotected(s.name, "CalicoNotInstalled", "Calico is not installed", "install Calico", "set spec.network.hostBackend to None")
	s.Eventually(s.otherWrites).Should(rest)
	s.waitUntilQuiet()
	looked := countReconciliations()
	s.Consistently(func() float64 { return countReconciliations() - looked }, moment).Should(BeZero(), "nothing is looked at in vain")

	t.Log("without its API server")
	uninstallAfter(t)
	s.Expect(calico.InstallCRDs(s.ctx, cluster, calico.Aggregated)).To(Succeed())
	s.waitUntilUnprotected(s.name, "CalicoNotInstalled", "install its API server", "operator.tigera.io/v1", "apiserver.yaml")
	s.expectNoCalicoWrites(s.began, tick)

	t.Log("with its API server")
	installed := installCalico(t, calico.Aggregated)
	s.waitForConditions(s.name, programmed)
	s.Expect(s.listInventory()).To(ContainElements(s.completeInventory(s.name, nodes...)))
	s.Expect(s.getPolicy(s.name).Status.LastDrift).To(BeNil(), "a first write is no drift")
	s.Expect(s.eventsOf(s.name)()).NotTo(ContainElement("DriftCorrected"))

	t.Log("without its API server again")
	s.Expect(installed.Stop()).To(Succeed())
	s.waitUntilUnprotected(s.name, "CalicoNotInstalled", "install its API server")

	t.Log("removed")
	s.Expect(calico.Uninstall(s.ctx, cluster)).To(Succeed())
	s.waitUntilUnprotected(s.name, "CalicoNotInstalled", "Calico is not installed")
	s.Expect(s.otherWrites()).To(rest)
	s.patchObject(&corev1.Node{ObjectMeta: metaNamed(nodes[0])}, `{"spec":{"taints":[]}}`)
	s.Eventually(s.otherWrites).Should(rest, "repairs go on")
	s.expectRunning()

	s.removePolicy(s.name)
	s.Expect(s.otherWrites()).To(Equal(before))
	s.Expect(s.eventsOf(s.name)()).NotTo(ContainElement("Orphaned"), "Calico's objects were removed together with Calico")
	s.expectRunning()
}
